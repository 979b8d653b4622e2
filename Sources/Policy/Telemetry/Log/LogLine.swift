import Base
import HTTPSemantics

extension LogProgram {
    /// Appends the line of one exchange, with its newline.
    ///
    /// - Parameter violation: the name of the violation or cause that the summary's failure has.
    public func append(
        _ summary: borrowing ExchangeSummary, _ notes: LogNotes, _ labels: AccessLogFormat.Names,
        violation: StaticString, _ source: LogSource, to out: inout ByteBuffer
    ) {
        switch form {
        case .json:
            AccessLogFormat.json(summary, source, labels, violation: violation, &out)
        case .combined: AccessLogFormat.combined(summary, source, &out)
        case .steps:
            out.reserve(1_024)
            let line = LogLine(notes: notes, labels: labels, violation: violation)
            for i in 0..<steps.count {
                out.append(store.bytes(steps[i].literal))
                line.append(steps[i], self, summary, source, to: &out)
            }
            out.append(store.bytes(tail))
        }
        out.append(UInt8(ascii: "\n"))
    }
}

/// Writes the values of one line.
struct LogLine {
    let notes: LogNotes
    let labels: AccessLogFormat.Names
    let violation: StaticString

    typealias Step = LogProgram.Step

    // MARK: Parts

    private func number(_ value: UInt64, to out: inout ByteBuffer) { out.appendDecimal(value) }

    /// The place of a value that is not there.
    private func nothing(_ step: Step, to out: inout ByteBuffer) {
        out.append(step.style == .value ? "null" : "-")
    }

    private func quote(_ step: Step, to out: inout ByteBuffer) {
        if step.style == .value { out.append(UInt8(ascii: "\"")) }
    }

    private func word(_ text: StaticString, _ step: Step, to out: inout ByteBuffer) {
        quote(step, to: &out)
        out.append(text)
        quote(step, to: &out)
    }

    /// A text of the network, cut and escaped.
    private func text(
        _ range: ByteRange, of bytes: Span<UInt8>, _ step: Step, to out: inout ByteBuffer
    ) {
        guard !range.isEmpty else { return nothing(step, to: &out) }
        let length =
            step.lengthMax == 0 ? range.length : min(range.length, Int(step.lengthMax))
        quote(step, to: &out)
        LogText.append(
            bytes.extracting(range.lower..<range.lower + length), step.style, to: &out)
        quote(step, to: &out)
    }

    private func address(_ address: Address?, _ step: Step, to out: inout ByteBuffer) {
        guard let address else { return nothing(step, to: &out) }
        quote(step, to: &out)
        LogText.append(address, to: &out)
        quote(step, to: &out)
    }

    private func host(_ address: Address?, _ step: Step, to out: inout ByteBuffer) {
        guard let address else { return nothing(step, to: &out) }
        quote(step, to: &out)
        address.appendHost(to: &out)
        quote(step, to: &out)
    }

    /// Whole milliseconds, cut; nothing for a time that has not come.
    private func milliseconds(_ time: Duration, _ step: Step, to out: inout ByteBuffer) {
        guard time.nanoseconds >= 0 else { return nothing(step, to: &out) }
        out.appendDecimal(UInt64(time.nanoseconds / 1_000_000))
    }

    // MARK: Values

    func append(
        _ step: Step, _ program: borrowing LogProgram, _ s: borrowing ExchangeSummary,
        _ source: LogSource, to out: inout ByteBuffer
    ) {
        switch step.name {
        case .startTime: time(step, program, s, source, to: &out)
        case .requestField, .responseField, .trailer: field(step, program, s, source, to: &out)
        case .protocol: word(s.protocol.label, step, to: &out)
        case .responseCode: number(UInt64(s.status), to: &out)
        case .responseFlags:
            quote(step, to: &out)
            s.flags.append(to: &out)
            quote(step, to: &out)
        case .responseFlagsLong:
            quote(step, to: &out)
            s.flags.appendLong(to: &out)
            quote(step, to: &out)
        case .responseCodeDetails:
            quote(step, to: &out)
            ResponseDetails.append(s, violation: violation, to: &out)
            quote(step, to: &out)
        case .terminationDetails: nothing(step, to: &out)
        case .bytesReceived: number(s.bytesReceived, to: &out)
        case .bytesSent: number(s.bytesSent, to: &out)
        case .duration: milliseconds(max(.zero, s.duration), step, to: &out)
        case .requestDuration: milliseconds(notes.requestTime, step, to: &out)
        case .responseDuration: milliseconds(s.firstByte, step, to: &out)
        case .responseTxDuration:
            let isAnswered = s.firstByte.nanoseconds >= 0
            let rest = s.duration.nanoseconds - s.firstByte.nanoseconds
            milliseconds(Duration(nanoseconds: isAnswered ? max(0, rest) : -1), step, to: &out)
        case .grpcStatus: grpcStatus(step, s.grpcStatus, to: &out)
        case .grpcStatusNumber:
            if s.grpcStatus < 0 { return nothing(step, to: &out) }
            number(UInt64(s.grpcStatus), to: &out)
        case .path: path(step, s, source, to: &out)
        case .queryParameter:
            let name = program.store.bytes(step.first)
            let value = LogText.parameter(name, inTarget: s.target, of: source.text)
            text(value ?? .empty, of: source.text, step, to: &out)
        default: connection(step, s, source, to: &out)
        }
    }

    /// Values that tell of endpoint, client and process.
    private func connection(
        _ step: Step, _ s: borrowing ExchangeSummary, _ source: LogSource,
        to out: inout ByteBuffer
    ) {
        switch step.name {
        case .upstreamProtocol:
            guard let name = notes.upstreamProtocol else { return nothing(step, to: &out) }
            word(name.label, step, to: &out)
        case .upstreamHost: address(s.endpoint, step, to: &out)
        case .upstreamCluster, .upstreamClusterRaw: cluster(step, source, to: &out)
        case .upstreamLocalAddress: address(notes.upstreamLocal, step, to: &out)
        case .attemptCount: number(UInt64(s.attempts), to: &out)
        case .transportFailure:
            guard s.failure.handshake != nil else { return nothing(step, to: &out) }
            quote(step, to: &out)
            s.failure.append(violation: violation, to: &out)
            quote(step, to: &out)
        case .hostsAttempted: text(notes.hosts, of: source.text, step, to: &out)
        case .routeName: text(labels.route, of: source.names, step, to: &out)
        case .service: text(labels.service, of: source.names, step, to: &out)
        case .version: text(labels.version, of: source.names, step, to: &out)
        case .assign: word(s.assign.label, step, to: &out)
        case .draw:
            if s.draw == .max { return nothing(step, to: &out) }
            number(s.draw, to: &out)
        default: client(step, s, source, to: &out)
        }
    }

    private func client(
        _ step: Step, _ s: borrowing ExchangeSummary, _ source: LogSource,
        to out: inout ByteBuffer
    ) {
        switch step.name {
        case .remoteAddress: address(s.client, step, to: &out)
        case .remoteHost: host(s.client, step, to: &out)
        case .directRemoteAddress: address(s.peer, step, to: &out)
        case .directRemoteHost: host(s.peer, step, to: &out)
        case .localAddress: address(notes.local, step, to: &out)
        case .localHost: host(notes.local, step, to: &out)
        case .localPort:
            guard let local = notes.local, local.family != .unix else {
                return nothing(step, to: &out)
            }
            number(UInt64(local.port), to: &out)
        case .serverName: text(notes.serverName, of: source.client, step, to: &out)
        case .tlsVersion:
            guard s.tlsVersion != 0 else { return nothing(step, to: &out) }
            word(s.tlsVersion == 3 ? "TLSv1.3" : "TLSv1.2", step, to: &out)
        case .peerSubject: certificate("Subject=\"", step, source, to: &out)
        case .peerURI: certificate("URI=\"", step, source, to: &out)
        case .traceID:
            // RFC-like form of W3C: version, trace id, parent id, flags, with dashes between.
            let isWhole = s.traceparent.length >= 55
            let range = ByteRange(start: s.traceparent.lower + 3, count: isWhole ? 32 : 0)
            text(range, of: source.text, step, to: &out)
        case .streamID: text(s.requestID, of: source.text, step, to: &out)
        case .connectionID:
            if notes.connection == 0 { return nothing(step, to: &out) }
            number(notes.connection, to: &out)
        default: nothing(step, to: &out)
        }
    }

    // MARK: Longer values

    private func time(
        _ step: Step, _ program: borrowing LogProgram, _ s: borrowing ExchangeSummary,
        _ source: LogSource, to out: inout ByteBuffer
    ) {
        quote(step, to: &out)
        if step.timeStart == step.timeEnd {
            out.append(source.second)
            out.append(UInt8(ascii: "."))
            LogTime.appendFraction(s.arrival, digits: 3, to: &out)
            out.append(UInt8(ascii: "Z"))
        } else {
            LogTime.append(
                s.arrival, program.times, Int(step.timeStart)..<Int(step.timeEnd), program.store,
                to: &out)
        }
        quote(step, to: &out)
    }

    private func field(
        _ step: Step, _ program: borrowing LogProgram, _ s: borrowing ExchangeSummary,
        _ source: LogSource, to out: inout ByteBuffer
    ) {
        if isAppended(step.source, step.first, step, program, s, source, to: &out) { return }
        if isAppended(step.otherSource, step.second, step, program, s, source, to: &out) { return }
        nothing(step, to: &out)
    }

    /// Appends the value of one of a step's two fields.
    /// - Returns: `false` when there is none.
    private func isAppended(
        _ from: LogProgram.FieldSource, _ name: ByteRange, _ step: Step,
        _ program: borrowing LogProgram, _ s: borrowing ExchangeSummary, _ source: LogSource,
        to out: inout ByteBuffer
    ) -> Bool {
        var range = ByteRange.empty
        switch from {
        case .none: return false
        case .method: range = s.method
        case .path: range = notes.sentTarget.isEmpty ? s.target : notes.sentTarget
        case .originalPath: if !notes.sentTarget.isEmpty { range = s.target }
        case .authority: range = s.authority
        case .scheme:
            if s.method.isEmpty { return false }
            word(notes.isSecure ? "https" : "http", step, to: &out)
            return true
        case .userAgent: range = s.userAgent
        case .referer: range = s.referer
        case .requestID: range = s.requestID
        case .forwardedFor: range = s.forwardedFor
        case .traceparent: range = s.traceparent
        case .serviceTime:
            if s.firstByte.nanoseconds < 0 { return false }
            quote(step, to: &out)
            out.appendDecimal(UInt64(s.firstByte.nanoseconds / 1_000_000))
            quote(step, to: &out)
            return true
        case .line:
            let lines: ByteRange
            switch step.name {
            case .responseField: lines = notes.responseLines
            case .trailer: lines = notes.trailerLines
            default: lines = notes.requestLines
            }
            let found = LogText.value(
                of: program.store.bytes(name), in: lines, of: source.text)
            range = found ?? .empty
        }
        if range.isEmpty { return false }
        text(range, of: source.text, step, to: &out)
        return true
    }

    private func path(
        _ step: Step, _ s: borrowing ExchangeSummary, _ source: LogSource,
        to out: inout ByteBuffer
    ) {
        var range = ByteRange.empty
        if step.source == .path {
            range = notes.sentTarget.isEmpty ? s.target : notes.sentTarget
        } else if !notes.sentTarget.isEmpty || step.otherSource == .path {
            range = s.target
        }
        if step.word == 1,
            let mark = ASCII.index(
                of: UInt8(ascii: "?"), in: source.text.extracting(range.range))
        {
            range = ByteRange(start: range.lower, count: mark)
        }
        text(range, of: source.text, step, to: &out)
    }

    private func cluster(_ step: Step, _ source: LogSource, to out: inout ByteBuffer) {
        guard !labels.service.isEmpty else { return nothing(step, to: &out) }
        quote(step, to: &out)
        out.append(source.names.extracting(labels.service.range))
        if !labels.version.isEmpty {
            out.append(UInt8(ascii: "/"))
            out.append(source.names.extracting(labels.version.range))
        }
        quote(step, to: &out)
    }

    /// All values of a key of the client's certificate, with commas between.
    private func certificate(
        _ key: StaticString, _ step: Step, _ source: LogSource, to out: inout ByteBuffer
    ) {
        let identity = source.client.extracting(notes.identity.range)
        var position = 0, isFirst = true
        while let range = LogText.certificateValue(key, in: identity, from: &position) {
            if isFirst { quote(step, to: &out) } else { out.append(UInt8(ascii: ",")) }
            isFirst = false
            LogText.append(identity.extracting(range.range), step.style, to: &out)
        }
        if isFirst { nothing(step, to: &out) } else { quote(step, to: &out) }
    }

    private func grpcStatus(_ step: Step, _ status: Int8, to out: inout ByteBuffer) {
        guard status >= 0 else { return nothing(step, to: &out) }
        quote(step, to: &out)
        switch step.word {
        case 0 where status <= 16: out.append(GRPCStatusNames.camel(status))
        case 1 where status <= 16: out.append(GRPCStatusNames.snake(status))
        default: out.appendDecimal(UInt64(status))
        }
        quote(step, to: &out)
    }
}

/// Names of the statuses of gRPC, as Envoy's access log writes them.
enum GRPCStatusNames {
    static func camel(_ status: Int8) -> StaticString {
        switch status {
        case 0: return "OK"
        case 1: return "Canceled"
        case 2: return "Unknown"
        case 3: return "InvalidArgument"
        case 4: return "DeadlineExceeded"
        case 5: return "NotFound"
        case 6: return "AlreadyExists"
        case 7: return "PermissionDenied"
        case 8: return "ResourceExhausted"
        case 9: return "FailedPrecondition"
        case 10: return "Aborted"
        case 11: return "OutOfRange"
        case 12: return "Unimplemented"
        case 13: return "Internal"
        case 14: return "Unavailable"
        case 15: return "DataLoss"
        default: return "Unauthenticated"
        }
    }

    static func snake(_ status: Int8) -> StaticString {
        switch status {
        case 0: return "OK"
        case 1: return "CANCELLED"
        case 2: return "UNKNOWN"
        case 3: return "INVALID_ARGUMENT"
        case 4: return "DEADLINE_EXCEEDED"
        case 5: return "NOT_FOUND"
        case 6: return "ALREADY_EXISTS"
        case 7: return "PERMISSION_DENIED"
        case 8: return "RESOURCE_EXHAUSTED"
        case 9: return "FAILED_PRECONDITION"
        case 10: return "ABORTED"
        case 11: return "OUT_OF_RANGE"
        case 12: return "UNIMPLEMENTED"
        case 13: return "INTERNAL"
        case 14: return "UNAVAILABLE"
        case 15: return "DATA_LOSS"
        default: return "UNAUTHENTICATED"
        }
    }
}
