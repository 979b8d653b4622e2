import Base

/// A format of the access log, compiled when the configuration is read: for each line the steps are
/// taken in order, each writes its literal and its value, and nothing is allocated.
public struct LogProgram: ~Copyable, Sendable {
    /// The form of lines.
    public enum Form: UInt8, Sendable, BitwiseCopyable {
        case json, combined
        /// The steps say.
        case steps
    }

    /// The surroundings of a value.
    enum Style: UInt8, BitwiseCopyable {
        /// Plain text.
        case text
        /// A whole JSON value: its type is kept, and where nothing is there it is null.
        case value
        /// A part of a JSON string.
        case inString
    }

    /// Where the value of a field comes from.
    enum FieldSource: UInt8, BitwiseCopyable {
        case none, method, path, originalPath, authority, scheme
        case userAgent, referer, requestID, forwardedFor, traceparent
        /// The time to the endpoint's first byte.
        case serviceTime
        /// A line of a head, by name.
        case line
    }

    struct Step: BitwiseCopyable {
        var name: LogOperator
        var style: Style
        /// Text in front of the value, in the store.
        var literal = ByteRange.empty
        var lengthMax: UInt32 = 0
        var source = FieldSource.none
        var otherSource = FieldSource.none
        /// Names in the store.
        var first = ByteRange.empty
        var second = ByteRange.empty
        /// The number of the word that the operator was given.
        var word: UInt8 = 0
        /// Into `times`.
        var timeStart: UInt16 = 0
        var timeEnd: UInt16 = 0
    }

    struct TimeStep: BitwiseCopyable {
        /// A letter of strftime; 0: digits of the fraction; 1: text.
        var letter: UInt8
        var digits: UInt8
        var literal: ByteRange
    }

    public let form: Form
    public let needs: LogNeeds
    let steps: FixedArray<Step>
    let times: FixedArray<TimeStep>
    let tail: ByteRange
    let store: ByteStore

    /// One of the forms that are written by hand.
    public init(_ form: Form) {
        self.form = form
        needs = []
        steps = FixedArray([])
        times = FixedArray([])
        tail = .empty
        store = ByteStore()
    }

    /// - Parameters:
    ///   - hostName: the machine's.
    ///   - environment: variables of the process that the format shows.
    public init(_ template: LogTemplate, hostName: String, environment: [String: String]) {
        var compiler = LogCompiler(hostName: hostName, environment: environment)
        switch template.shape {
        case .text(let pieces, _): compiler.add(pieces, .text)
        case .object(let members): compiler.add(members)
        }
        form = .steps
        needs = compiler.needs
        steps = FixedArray(compiler.steps)
        times = FixedArray(compiler.times)
        tail = compiler.store.intern(compiler.literal)
        store = compiler.takeStore()
    }

    /// Whether a line of a head is one that the format shows.
    ///
    /// - Parameter name: as it was written.
    public func shows(_ name: Span<UInt8>, of head: LogOperator) -> Bool {
        for i in 0..<steps.count where steps[i].name == head {
            let step = steps[i]
            if step.source == .line, ASCII.equalFold(name, store.bytes(step.first)) { return true }
            if step.otherSource == .line, ASCII.equalFold(name, store.bytes(step.second)) {
                return true
            }
        }
        return false
    }
}

extension LogProgram {
    /// Keeps the lines of a head that the format shows.
    ///
    /// - Parameter lines: a head as this process has written it (`FieldText`); its first line, if
    ///   that is there, is no field's.
    /// - Returns: where the kept lines lie.
    public func keep(
        _ lines: Span<UInt8>, of head: LogOperator, to out: inout ByteBuffer
    ) -> ByteRange {
        let start = out.writerIndex
        var at = 0
        while at < lines.count {
            let rest = lines.extracting(at..<lines.count)
            guard let lf = ASCII.index(of: ASCII.lf, in: rest), lf > 1 else { break }
            let colon = ASCII.index(of: UInt8(ascii: ":"), in: rest.extracting(0..<lf)) ?? 0
            if shows(rest.extracting(0..<colon), of: head) {
                out.append(rest.extracting(0..<(lf + 1)))
            }
            at += lf + 1
        }
        return ByteRange(start, end: out.writerIndex)
    }
}

/// Makes the steps of a format.
struct LogCompiler: ~Copyable {
    let hostName: String
    let environment: [String: String]
    var steps: [LogProgram.Step] = []
    var times: [LogProgram.TimeStep] = []
    var store = ByteStore()
    var needs: LogNeeds = []
    /// Bytes in front of the next value.
    var literal: [UInt8] = []

    init(hostName: String, environment: [String: String]) {
        self.hostName = hostName
        self.environment = environment
    }

    consuming func takeStore() -> ByteStore { store }

    mutating func add(_ members: [LogTemplate.Member]) {
        literal.append(UInt8(ascii: "{"))
        let sorted = members.sorted { Array($0.key.utf8).lexicographicallyPrecedes($1.key.utf8) }
        for (i, member) in sorted.enumerated() {
            if i > 0 { literal.append(UInt8(ascii: ",")) }
            literal.append(UInt8(ascii: "\""))
            add(member.key, .inString)
            literal += Array("\":".utf8)
            switch member.value {
            case .object(let members): add(members)
            case .text(let pieces, _):
                if pieces.count == 1, case .value = pieces[0] {
                    add(pieces, .value)
                } else {
                    literal.append(UInt8(ascii: "\""))
                    add(pieces, .inString)
                    literal.append(UInt8(ascii: "\""))
                }
            }
        }
        literal.append(UInt8(ascii: "}"))
    }

    mutating func add(_ pieces: [LogTemplate.Piece], _ style: LogProgram.Style) {
        for piece in pieces {
            switch piece {
            case .text(let text): add(text, style)
            case .value(let use): add(use, style)
            }
        }
    }

    /// Adds text of the configuration, which is UTF-8.
    private mutating func add(_ text: String, _ style: LogProgram.Style) {
        guard style != .text else { return literal += Array(text.utf8) }
        for byte in text.utf8 {
            switch byte {
            case 0x22, 0x5c: literal += [0x5c, byte]
            case 0..<0x20:
                let digits = Array("0123456789abcdef".utf8)
                literal += Array("\\u00".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            default: literal.append(byte)
            }
        }
    }

    private mutating func add(_ use: LogTemplate.Use, _ style: LogProgram.Style) {
        switch use.name {
        case .hostName: return addConstant(hostName, use, style)
        case .environment: return addConstant(environment[use.first] ?? "", use, style)
        default: break
        }
        var step = LogProgram.Step(name: use.name, style: style)
        step.literal = store.intern(literal)
        literal = []
        step.lengthMax = UInt32(use.lengthMax)
        switch use.name {
        case .requestField, .responseField, .trailer: addFields(use, &step)
        case .queryParameter: step.first = store.intern(use.first)
        case .grpcStatus:
            step.word = use.first == "SNAKE_STRING" ? 1 : use.first == "NUMBER" ? 2 : 0
        case .path:
            step.word = use.first == "NQ" ? 1 : 0
            step.source = use.second == "PATH" ? .path : .originalPath
            // Of `ORIG` there is nothing where the path was not rewritten.
            if use.second == "ORIG_OR_PATH" { step.otherSource = .path }
        case .startTime: addTime(use.time, &step)
        default: break
        }
        needs.formUnion(LogCompiler.needs(of: use.name))
        steps.append(step)
    }

    private static func needs(of name: LogOperator) -> LogNeeds {
        switch name {
        case .upstreamProtocol: return .connection
        case .upstreamLocalAddress: return [.connection, .localAddresses]
        case .hostsAttempted: return .hosts
        case .requestDuration: return .requestTime
        case .localAddress, .localHost, .localPort: return [.client, .localAddresses]
        case .serverName: return [.client, .serverName]
        case .peerSubject, .peerURI, .connectionID: return .client
        default: return []
        }
    }

    /// A value that is the same on every line, and cannot have control characters there.
    private mutating func addConstant(
        _ text: String, _ use: LogTemplate.Use, _ style: LogProgram.Style
    ) {
        var bytes = Array(text.utf8)
        if use.lengthMax > 0 { bytes = Array(bytes.prefix(use.lengthMax)) }
        if bytes.isEmpty { return literal += Array((style == .value ? "null" : "-").utf8) }
        if style == .value { literal.append(UInt8(ascii: "\"")) }
        var out = ByteBuffer()
        LogText.append(bytes.span, style, to: &out)
        for i in 0..<out.count { literal.append(out.readable[i]) }
        if style == .value { literal.append(UInt8(ascii: "\"")) }
    }

    private mutating func addFields(_ use: LogTemplate.Use, _ step: inout LogProgram.Step) {
        step.source = source(use.first, of: use.name)
        step.otherSource = use.second.isEmpty ? .none : source(use.second, of: use.name)
        step.first = store.intern(use.first)
        step.second = store.intern(use.second)
    }

    private mutating func source(
        _ name: String, of head: LogOperator
    ) -> LogProgram.FieldSource {
        if head == .responseField, name == "x-envoy-upstream-service-time" { return .serviceTime }
        if head == .requestField {
            switch name {
            case ":method": return .method
            case ":path": return .path
            case "x-envoy-original-path": return .originalPath
            case ":authority", "host": return .authority
            case ":scheme": return .scheme
            case "user-agent": return .userAgent
            case "referer": return .referer
            case "x-request-id": return .requestID
            case "x-forwarded-for": return .forwardedFor
            case "traceparent": return .traceparent
            default: break
            }
        }
        switch head {
        case .responseField: needs.insert(.responseLines)
        case .trailer: needs.insert(.trailerLines)
        default: needs.insert(.requestLines)
        }
        return .line
    }

    private mutating func addTime(_ pieces: [TimePiece], _ step: inout LogProgram.Step) {
        step.timeStart = UInt16(times.count)
        for piece in pieces {
            switch piece {
            case .text(let text):
                // Inside of JSON too, where a quote must not end the string.
                var out = ByteBuffer()
                LogText.append(Array(text.utf8).span, step.style, to: &out)
                let bytes = (0..<out.count).map { out.readable[$0] }
                times.append(.init(letter: 1, digits: 0, literal: store.intern(bytes)))
            case .letter(let letter):
                times.append(.init(letter: letter, digits: 0, literal: .empty))
            case .fraction(let digits):
                times.append(.init(letter: 0, digits: digits, literal: .empty))
            }
        }
        step.timeEnd = UInt16(times.count)
    }
}
