import Base
import Errands
import Foundation
import Platform
import Rollout

/// Gives errands and waits for their reports.
final class Desk: Sendable {
    private struct State: Sendable {
        var next: UInt64 = 1
        var waiting: [UInt64: CheckedContinuation<ErrandReport, Never>] = [:]
        var early: [UInt64: ErrandReport] = [:]
    }

    private let state: NSLocked<State>
    let errands: Errands

    init(
        _ change: (inout Errands.Options) -> Void = { _ in },
        lookUp: @escaping Errands.Lookup = { host, _ in .failure(.init(reason: "no \(host) here")) }
    ) throws {
        var options = Errands.Options()
        change(&options)
        let state = NSLocked(State())
        self.state = state
        errands = try Errands(options, lookUp: lookUp) { report in
            let waiter = state.with { state in
                let waiter = state.waiting.removeValue(forKey: report.ticket)
                if waiter == nil { state.early[report.ticket] = report }
                return waiter
            }
            waiter?.resume(returning: report)
        }
    }

    deinit { errands.stop() }

    /// Hands an errand over.
    func give(_ call: OutgoingCall) -> UInt64 {
        let ticket = state.with { state in
            state.next += 1
            return state.next
        }
        errands.perform(call, ticket: ticket)
        return ticket
    }

    func report(_ ticket: UInt64) async -> ErrandReport {
        await withCheckedContinuation { continuation in
            let early = state.with { state in
                let early = state.early.removeValue(forKey: ticket)
                if early == nil { state.waiting[ticket] = continuation }
                return early
            }
            if let early { continuation.resume(returning: early) }
        }
    }

    func outcome(_ call: OutgoingCall) async -> CallOutcome { await report(give(call)).outcome }

    /// The outcome of a GET, or of a POST where there is a body.
    func ask(
        _ url: String, body: String? = nil, limit: Duration = .seconds(3_600),
        _ change: (inout CallRequest) -> Void = { _ in }
    ) async throws -> CallOutcome {
        await outcome(try Desk.call(url, body: body, limit: limit, change))
    }

    static func call(
        _ url: String, body: String? = nil, limit: Duration = .seconds(3_600),
        _ change: (inout CallRequest) -> Void = { _ in }
    ) throws -> OutgoingCall {
        var request = CallRequest(url: try CallURL(url))
        if let body { request.content = .body(Array(body.utf8), type: "application/json") }
        change(&request)
        return OutgoingCall(.request(request), limit: limit)
    }

    /// Waits, without a clock of its own, until what is under way is as wanted.
    func until(_ condition: ([ErrandStatus]) -> Bool) async {
        while !condition(errands.underWay) { await Task.yield() }
    }
}

/// A value behind a lock.
final class NSLocked<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value
    init(_ value: Value) { self.value = value }
    func with<R>(_ body: (inout Value) -> R) -> R {
        lock.lock()
        defer { lock.unlock() }
        return body(&value)
    }
}

extension CallOutcome {
    var answer: CallAnswer? {
        if case .answered(let answer) = self { return answer }
        return nil
    }
    var failure: CallFailure? {
        if case .failed(let failure) = self { return failure }
        return nil
    }
    var end: ProgramEnd? {
        if case .ended(let end) = self { return end }
        return nil
    }
    var text: String { String(decoding: answer?.body ?? end?.output ?? [], as: UTF8.self) }
}
