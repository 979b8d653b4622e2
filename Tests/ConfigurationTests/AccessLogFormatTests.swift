import Configuration
import JSON
import Telemetry
import Testing

/// The format of the access log in the file: names, texts with operators, mappings.
@Suite struct AccessLogFormatTests {
    static func reading(_ log: String) -> ConfigurationReading {
        let text = Text.replacing(
            BadConfigurationTests.base, "routes:\n", with: "accessLog: \(log)\nroutes:\n")
        return ConfigurationReading(Array(text.utf8))
    }

    /// The line on which `accessLog` stands.
    static let line =
        BadConfigurationTests.base.split(separator: "\n", omittingEmptySubsequences: false)
        .firstIndex(of: "routes:").map { $0 + 1 } ?? 0

    static func template(_ format: String) -> LogTemplate? {
        let reading = reading("{ path: a, format: \(format) }")
        #expect(reading.errors.isEmpty, "\(reading.errors)")
        guard case .template(let template, _)? = reading.document?.accessLog?.format else {
            return nil
        }
        return template
    }

    @Test("each name is a format, and is shown as it was written")
    func names() throws {
        for name in ["json", "envoy", "istio", "istio-json", "combined"] {
            let reading = AccessLogFormatTests.reading("{ path: a, format: \(name) }")
            let document = try #require(reading.document)
            let page = DocumentJSON.document(document).text()
            #expect(page.contains("\"format\": \"\(name)\""), "\(name)")
        }
        #expect(AccessLogFormatTests.template("istio") == .istio)
    }

    @Test("a text and a mapping are read, and shown as they were written")
    func shapes() throws {
        let text = try #require(AccessLogFormatTests.template("\"%PROTOCOL% \\\"%REQ(A):3%\\\"\""))
        #expect(text.operatorCount == 2)
        let mapping = "{ a: \"%DURATION%\", b: { c: \"x %PATH%\" }, x.y: 200 }"
        let reading = AccessLogFormatTests.reading(
            "{ path: a, format: \(mapping), sample: 1%, errors: always }")
        let log = try #require(reading.document?.accessLog)
        #expect(log.writesErrors && log.sample == 100)
        let page = DocumentJSON.document(try #require(reading.document)).text()
        for part in ["\"c\": \"x %PATH%\"", "\"x.y\": \"200\"", "\"errors\": \"always\""] {
            #expect(page.contains(part), "\(page)")
        }
    }

    @Test(
        "a block ends in a line break that is no part of the format, and a folded one is one line")
    func blocks() {
        let text = "\n  path: a\n  format: >\n    %PROTOCOL%\n    %PATH%\n"
        let reading = AccessLogFormatTests.reading(text)
        guard case .template(let template, _)? = reading.document?.accessLog?.format,
            case .text(_, let source) = template.shape
        else {
            Issue.record("\(reading.errors)")
            return
        }
        #expect(source == "%PROTOCOL% %PATH%")
        let literal = AccessLogFormatTests.reading(
            Text.replacing(text, ">", with: "|")
        )
        #expect(literal.errors.first?.hint.contains("with > in place of |") == true)
    }

    @Test(
        "a mistake is told at the operator's own place",
        arguments: [
            ("{ path: a, format: \"%PROTOCOL% %EMIT_TIME%\" }", 0, "%EMIT_TIME%"),
            ("{ path: a, format: 'it''s \"%PATHS%\"' }", 0, "%PATHS%"),
            ("{ path: a, format: \"\\t\\\"%PROTOCOL%\\\" %CEL(a b)%\" }", 0, "%CEL(a"),
            ("{ path: a, format: { k: { l: \"%RESPONSE_CODES%\" } } }", 0, "%RESPONSE_CODES%"),
            (
                "\n  path: a\n  format: >\n    %PROTOCOL%\n    and %METADATA(x)%\n", 4,
                "%METADATA(x)%"
            ),
        ])
    func places(log: String, down: Int, token: String) throws {
        let reading = AccessLogFormatTests.reading(log)
        let error = try #require(reading.errors.first)
        let lines = ConfigurationError.lines(reading.bytes)
        let number = AccessLogFormatTests.line + down
        #expect(error.mark.line == number, "\(error)")
        let line = lines[number - 1]
        let place = line.unicodeScalars.dropFirst(error.mark.column - 1)
        #expect(String(place).hasPrefix(token), "\(error): \(String(place))")
        #expect(!error.hint.isEmpty)
    }

    @Test(
        "what is no format is refused with what to write",
        arguments: [
            ("jsn", "did you mean \"json\"?"), ("apache", "write combined"),
            ("'$remote_addr $status'", "write combined"), ("'%h %l'", "write combined"),
            ("{ a: b }", "write { status: \"%RESPONSE_CODE%\""), ("{}", "%RESPONSE_CODE%"),
            ("[a]", "write a"),
        ])
    func mistakes(format: String, hint: String) throws {
        let reading = AccessLogFormatTests.reading("{ path: a, format: \(format) }")
        let error = try #require(reading.errors.first, "\(format)")
        #expect(error.message.contains("accessLog.format"), "\(error)")
        #expect(error.hint.contains(hint), "\(error)")
    }

    @Test("operators are bounded, and errors is one of two words")
    func bounds() {
        let many = String(repeating: "%PATH%", count: 257)
        #expect(
            AccessLogFormatTests.reading("{ path: a, format: \"\(many)\" }").errors.first?.message
                .contains("at most 256") == true)
        #expect(
            AccessLogFormatTests.reading("{ path: a, errors: never }").errors.first?.message
                .contains("one of sampled, always") == true)
    }
}
