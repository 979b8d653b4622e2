import Base
import Telemetry
import Testing

@Suite struct VersionErrorsTests {
    private static func isError(
        _ cause: ErrorCause, status: UInt16 = 0, call: Int8 = -1, flags: ResponseFlags = [],
        isAnswered: Bool = false, by errors: VersionErrors = VersionErrors()
    ) -> Bool {
        var summary = ExchangeSummary()
        summary.cause = cause
        summary.status = status
        summary.grpcStatus = call
        summary.flags = flags
        if isAnswered { summary.firstByte = .milliseconds(1) }
        return errors.takes(summary)
    }

    @Test("by default 5xx, no answer and the server's own gRPC statuses are errors")
    func defaults() {
        typealias Tests = VersionErrorsTests
        #expect(!Tests.isError(.none, status: 200))
        #expect(!Tests.isError(.none, status: 404))
        #expect(Tests.isError(.response, status: 500, isAnswered: true))
        #expect(Tests.isError(.response, status: 599, isAnswered: true))
        for cause in [ErrorCause.connect, .reset, .timeout, .invalid, .local] {
            #expect(Tests.isError(cause, status: 503), "\(cause)")
        }
        for call in 1...16 as ClosedRange<Int8> {
            let isError = [2, 4, 13, 14, 15].contains(call)
            let cause = call == 4 ? ErrorCause.timeout : .response
            #expect(
                Tests.isError(cause, status: 200, call: call, isAnswered: true) == isError,
                "\(call)")
        }
        // No status of gRPC: UNKNOWN to its clients.
        #expect(Tests.isError(.response, status: 200, call: 99, isAnswered: true))
    }

    @Test("the end of the process and a client that left are no errors")
    func ownDoing() {
        #expect(!VersionErrorsTests.isError(.drain, status: 503))
        #expect(!VersionErrorsTests.isError(.none, flags: .downstreamTermination))
    }

    @Test("each kind of error can be left out, and each gRPC status named")
    func configured() {
        typealias Tests = VersionErrorsTests
        let answers = VersionErrors(noAnswer: false, calls: [])
        #expect(answers.takes(status: 500, call: -1))
        #expect(!Tests.isError(.reset, status: 503, by: answers))
        #expect(!Tests.isError(.response, status: 200, call: 14, by: answers))
        let calls = VersionErrors(serverErrors: false, noAnswer: false, calls: [8])
        #expect(!calls.takes(status: 500, call: -1))
        #expect(Tests.isError(.response, status: 200, call: 8, isAnswered: true, by: calls))
        #expect(!Tests.isError(.response, status: 200, call: 14, isAnswered: true, by: calls))
    }

    @Test("a deadline that an endpoint tells is a call's status, one that passed here is no answer")
    func deadlines() {
        typealias Tests = VersionErrorsTests
        let noCalls = VersionErrors(calls: [])
        #expect(
            !Tests.isError(
                .timeout, status: 200, call: 4, isAnswered: true, by: noCalls))
        #expect(
            Tests.isError(
                .timeout, status: 200, call: 4, flags: .upstreamTimeout, by: noCalls))
        #expect(
            Tests.isError(
                .timeout, status: 200, flags: .upstreamTimeout, isAnswered: true, by: noCalls))
    }
}
