import Fuzzing

/// libFuzzer around one target: scripts/fuzz builds and runs it.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ argc: UnsafeMutablePointer<CInt>,
    _ argv: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

nonisolated(unsafe) private var target = FuzzTarget.all[0]

/// SwiftPM calls an executable's main by its target's name: `fuzz TARGET [libFuzzer's options]`.
@_cdecl("FuzzDriver_main")
public func main(
    _ argc: CInt, _ argv: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
) -> CInt {
    guard argc > 1, let name = argv[1], let chosen = FuzzTarget.named(String(cString: name)) else {
        for target in FuzzTarget.all { print(target.name) }
        return argc > 1 ? 2 : 0
    }
    target = chosen
    // libFuzzer sees the arguments behind the target's name.
    argv[1] = argv[0]
    var count = argc - 1
    var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = argv + 1
    return runDriver(&count, &arguments) { bytes, length in
        do {
            try target.run(Array(UnsafeBufferPointer(start: bytes, count: length)))
        } catch {
            fatalError("\(target.name): \(error)")
        }
        return 0
    }
}
