import Configuration
import Foundation
import Testing

@Suite struct ReferenceTests {
    @Test("the reference configuration shows every key there is")
    func reference() throws {
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("config/reference.yaml")
        let text = try String(contentsOf: page, encoding: .utf8)
        var seen: Set<String> = []
        func walk(_ schema: ObjectSchema) {
            guard seen.insert(schema.name + schema.fields.map(\.name).joined()).inserted else {
                return
            }
            for field in schema.fields {
                let isShown = text.contains("\(field.name):")
                #expect(isShown, "\(field.name) of \(schema.name)")
                walk(field.type)
            }
        }
        func walk(_ type: ValueType) {
            switch type {
            case .object(let schema): walk(schema)
            case .list(let element), .map(let element, _): walk(element)
            case .either(let types): for type in types { walk(type) }
            default: break
            }
        }
        walk(ObjectSchema.document)
    }
}
