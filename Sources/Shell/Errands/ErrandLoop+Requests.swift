import Base
import Platform
import Rollout

extension ErrandLoop {
    /// The most addresses of a name that are tried.
    private static let addressesMax = 4

    mutating func findAddresses(_ errand: Errand, _ now: Instant) {
        guard let url = errand.request?.url else { return }
        if let literal = Address("\(url.hostText):\(url.port)") {
            errand.addresses = [literal]
            return tryNext(errand, after: nil, now)
        }
        enter(errand, .resolving, now)
        guard lookups.insert(url.host).inserted else { return }
        let errands = errands
        let isTaken = errands.names.put {
            // The port is put in by each errand that waits for the name.
            let found = errands.lookUp(url.host, url.port)
            errands.state.withLock { $0.looked.append((url.host, found)) }
            errands.wakeup.wake()
        }
        if isTaken { return }
        lookups.remove(url.host)
        let text = "\(url.origin) was not asked: too many names wait for a name server"
        finish(errand, .failed(CallFailure(.busy, text)))
    }

    mutating func looked(
        _ host: String, _ found: Result<[Address], NameLookup.Failure>, _ now: Instant
    ) {
        lookups.remove(host)
        for errand in running.values.sorted(by: { $0.serial < $1.serial })
        where errand.stage == .resolving && errand.request?.url.host == host {
            guard let url = errand.request?.url else { continue }
            switch found {
            case .success(let addresses) where !addresses.isEmpty:
                errand.addresses = addresses.prefix(ErrandLoop.addressesMax).map { address in
                    var address = address
                    address.port = url.port
                    return address
                }
                tryNext(errand, after: nil, now)
            case .success:
                let text = "\(url.host) has no address"
                finish(errand, .failed(CallFailure(.noAddress, text)))
            case .failure(let failure):
                let text = "\(url.host) has no address: \(failure.reason)"
                finish(errand, .failed(CallFailure(.noAddress, text)))
            }
        }
    }

    /// Connects to the next address that may be called.
    ///
    /// - Parameter reason: why the one before did not do; `nil`: there was none.
    mutating func tryNext(_ errand: Errand, after reason: String?, _ now: Instant) {
        guard let request = errand.request, let message = errand.message else { return }
        if let reason, let last = errand.connection?.address {
            errand.refusals.append("\(last.description): \(reason)")
            errand.isForbidden = false
        }
        errand.connection = nil
        errand.connectDeadline = .never
        enter(errand, .connecting, now)
        while !errand.addresses.isEmpty {
            let address = errand.addresses.removeFirst()
            if let problem = AddressRules.problem(address, admin: errands.options.admin) {
                errand.refusals.append(problem)
                continue
            }
            do throws(SystemError) {
                let connection = try CallConnection(
                    address, request, message, answerBytesMax: errands.options.answerBytesMax)
                let local = Socket.boundAddress(connection.descriptor)
                if let problem = AddressRules.problem(
                    address, admin: errands.options.admin, local: local)
                {
                    errand.refusals.append(problem)
                    continue
                }
                try poller.addConnection(
                    connection.descriptor, token: errand.serial << 2 | ErrandLoop.socketKind)
                errand.connection = connection
                // The addresses that are left share the time that is left.
                if !errand.addresses.isEmpty {
                    let left = (errand.deadline - now).nanoseconds
                    let share = left / Int64(errand.addresses.count + 1)
                    errand.connectDeadline = now + .nanoseconds(max(1, share))
                }
                return
            } catch {
                errand.isForbidden = false
                errand.refusals.append("\(address.description): \(error.message)")
            }
        }
        let why = errand.refusals.joined(separator: "; ")
        let kind: CallFailure.Kind = errand.isForbidden ? .forbidden : .notConnected
        finish(
            errand, .failed(CallFailure(kind, "\(request.url.origin) cannot be reached: \(why)")))
    }

    mutating func socketEvent(_ errand: Errand, _ event: Poller.Ready, _ now: Instant) {
        guard let connection = errand.connection else { return }
        switch connection.handle(event) {
        case .notConnected(let why): tryNext(errand, after: why, now)
        case .over(let outcome): finish(errand, outcome)
        case .goesOn:
            switch connection.stage {
            case .connecting: return
            case .securing: enter(errand, .securing, now)
            case .sending: enter(errand, .sending, now)
            case .awaiting: enter(errand, .awaiting, now)
            case .receiving: enter(errand, .receiving, now)
            }
            errand.connectDeadline = .never
        }
    }
}
