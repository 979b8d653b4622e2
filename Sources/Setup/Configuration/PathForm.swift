import Base
import HTTPSemantics

/// Paths of the file in the form in which requests' paths are matched.
enum PathForm {
    static func normal(_ bytes: [UInt8]) -> [UInt8]? {
        var buffer = ByteBuffer(capacity: bytes.count + 1)
        do {
            try PathNormalizer.normalize(bytes.span, into: &buffer)
        } catch {
            return nil
        }
        var copy: [UInt8] = []
        let view = buffer.readable
        for i in 0..<view.count { copy.append(view[i]) }
        return copy
    }
}
