import JSON

/// One reading of a metric.
public enum MetricReading: Sendable, Equatable {
    /// Finite.
    case value(Double)
    /// A program's word.
    case passes
    case fails(String)
    /// There is none, for the reason given: a clause without a full stop.
    case noValue(String)
}

extension MetricReading {
    private static let limits = JSONReader.Limits()

    /// The number that a Prometheus answers to an instant query (`/api/v1/query`): a vector of one
    /// series, or a scalar. Everything else is no value.
    public static func prometheus(_ outcome: CallOutcome) -> MetricReading {
        let answer: CallAnswer
        switch outcome {
        case .failed(let failure): return .noValue(failure.message)
        case .ended: return .noValue("a program is no Prometheus")
        case .answered(let found): answer = found
        }
        if answer.isRedirect { return .noValue(answer.complaint ?? "a redirect") }
        let root: JSONNode
        switch json(answer) {
        case .success(let node): root = node
        case .failure(let why): return .noValue(answer.complaint ?? why.message)
        }
        if let text = root["error"]?.text {
            let kind = root["errorType"]?.text.map { CallText.shown($0, most: 40) + ": " } ?? ""
            return .noValue("Prometheus answers an error: \(kind)\(CallText.shown(text))")
        }
        if let complaint = answer.complaint { return .noValue(complaint) }
        guard root["status"]?.text == "success", let data = root["data"],
            let type = data["resultType"]?.text, let result = data["result"]
        else {
            return .noValue("the answer is not that of a Prometheus to an instant query")
        }
        switch type {
        case "scalar": return sample(result)
        case "vector": return vector(result.elements ?? [])
        default:
            return .noValue(
                "the query gives a \(CallText.shown(type, most: 40)), expected one number")
        }
    }

    private static func vector(_ series: [JSONNode]) -> MetricReading {
        guard let first = series.first else { return .noValue("the query's result is empty") }
        guard series.count == 1 else {
            return .noValue(
                "the query gives \(series.count) series, expected one; put sum() around it, or "
                    + "more labels into it")
        }
        if let value = first["value"] { return sample(value) }
        let isHistogram = first["histogram"] != nil
        return .noValue(
            isHistogram
                ? "the query gives a histogram, expected a number; put histogram_quantile() "
                    + "around it" : "the series has no value")
    }

    /// `[time, "value"]`.
    private static func sample(_ node: JSONNode) -> MetricReading {
        guard let pair = node.elements, pair.count == 2, let text = pair[1].text else {
            return .noValue("the sample is not a time and a value")
        }
        switch text {
        case "NaN": return .noValue("the value is NaN, as of 0 divided by 0")
        case "+Inf", "-Inf", "Inf": return .noValue("the value is \(text), as of a division by 0")
        default: break
        }
        let isPlain = text.utf8.allSatisfy {
            (0x30...0x39).contains($0) || Array("+-.eE".utf8).contains($0)
        }
        guard isPlain, text.utf8.count <= 40, let value = Double(text), value.isFinite else {
            return .noValue("the value \"\(CallText.shown(text, most: 40))\" is no number")
        }
        return .value(value)
    }

    /// The number at a place of a JSON text that a URL answers.
    public static func web(_ outcome: CallOutcome, at pointer: JSONPointer) -> MetricReading {
        let answer: CallAnswer
        switch outcome {
        case .failed(let failure): return .noValue(failure.message)
        case .ended: return .noValue("a program answers no JSON")
        case .answered(let found): answer = found
        }
        if let complaint = answer.complaint { return .noValue(complaint) }
        switch json(answer) {
        case .failure(let why): return .noValue(why.message)
        case .success(let root):
            guard let node = pointer.find(in: root) else {
                return .noValue("the answer has nothing at \(CallText.shown(pointer.text))")
            }
            switch node.content {
            case .integer(let value): return .value(Double(value))
            case .number(let value): return .value(value)
            default:
                return .noValue(
                    "at \(CallText.shown(pointer.text)) the answer has \(node.kind), expected a "
                        + "number")
            }
        }
    }

    private static func json(_ answer: CallAnswer) -> Result<JSONNode, CallProblem> {
        let encoding = answer.contentEncoding.lowercased()
        guard encoding.isEmpty || encoding == "identity" else {
            return .failure(
                CallProblem("the answer is encoded as \(CallText.shown(encoding, most: 40))"))
        }
        if answer.body.isEmpty { return .failure(CallProblem("the answer has no content")) }
        do throws(JSONError) {
            return .success(try JSONReader.read(answer.body, limits: limits))
        } catch {
            let type = answer.contentType.isEmpty ? "" : " (\(answer.contentType))"
            return .failure(
                CallProblem("the answer is no JSON\(CallText.shown(type)): \(error)"))
        }
    }

    /// A program's word. A program that was not run or was killed at its time says nothing.
    public static func program(_ outcome: CallOutcome) -> MetricReading {
        switch outcome {
        case .failed(let failure): return .noValue(failure.message)
        case .answered: return .noValue("a URL has no exit code")
        case .ended(let end):
            switch end.word {
            case .passes: return .passes
            case .askAgain: return .noValue("the program asks to be asked again (\(end.text))")
            case .fails: return .fails(end.text)
            }
        }
    }
}
