import Base
import Platform
import Rollout

extension ErrandLoop {
    mutating func watch(_ child: ChildProcess, _ errand: Errand, _ now: Instant) {
        errand.child = child
        enter(errand, .running, now)
        do throws(SystemError) {
            try poller.addInput(
                child.descriptor, token: errand.serial << 2 | ErrandLoop.endKind)
            try poller.addInput(child.output, token: errand.serial << 2 | ErrandLoop.outputKind)
        } catch {
            let text = "\(errand.order.call.party) cannot be watched: \(error.message)"
            finish(errand, .failed(CallFailure(.program, text)))
        }
    }

    /// Reads a part of what the program prints, and keeps the end of it.
    ///
    /// - Returns: whether there may be more.
    func readOutput(_ errand: Errand) -> Bool {
        guard let child = errand.child else { return false }
        let piece = ChildProcess.read(child.output, bytesMax: 65_536)
        guard let piece, !piece.isEmpty else {
            // The writers have closed it; a level-triggered end would be told for ever.
            if piece != nil { poller.remove(child.output) }
            return false
        }
        errand.printed.outputCount += piece.count
        errand.printed.output += piece
        let surplus = errand.printed.output.count - ProgramEnd.outputBytesMax
        if surplus > 0 { errand.printed.output.removeFirst(surplus) }
        return true
    }

    /// The program has ended: what it left running ends too, and what it printed is read.
    mutating func ended(_ errand: Errand) {
        guard let child = errand.child else { return }
        // Before the end is read, while the number is still this group's.
        child.killAll()
        guard let end = child.takeEnd() else { return }
        var rounds = 0
        while rounds < 64, readOutput(errand) { rounds += 1 }
        errand.child = nil
        Socket.close(child.descriptor)
        Socket.close(child.output)
        switch end {
        case .exit(let code): errand.printed.cause = .exit(code)
        case .signal(let number): errand.printed.cause = .signal(number)
        case .unknown:
            let text = "how \(errand.order.call.party) ended is not known: another has asked"
            return finish(errand, .failed(CallFailure(.program, text)))
        }
        finish(errand, .ended(errand.printed))
    }

    /// Kills a program with what it started; its end is read when it comes.
    mutating func bury(_ child: ChildProcess, _ serial: UInt64) {
        child.killAll()
        Socket.close(child.output)
        if child.takeEnd() != nil { return Socket.close(child.descriptor) }
        dying[serial] = child
        // Known to the poller already where the program was watched.
        try? poller.addInput(child.descriptor, token: serial << 2 | ErrandLoop.endKind)
    }
}
