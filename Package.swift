// swift-tools-version: 6.2
import PackageDescription

// The floors of the house, from the ground up. A target imports only floors below its own, and only
// those named in its row; Tests/TidyTests repeats this table, so that changing it is a visible act.

let strict: [SwiftSetting] = [
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableExperimentalFeature("Lifetimes"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// A target of one floor: its sources lie in the folder of that floor.
func floor(_ name: String, in folder: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(
        name: name, dependencies: dependencies, path: "Sources/\(folder)/\(name)",
        swiftSettings: strict)
}

/// C code of our own, and the libraries of the system as Swift sees them.
let ground = "Sources/Ground"

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(
        name: name, dependencies: dependencies, swiftSettings: [.treatAllWarnings(as: .error)])
}

/// Needs libFuzzer's flags, which scripts/fuzz gives: not part of an ordinary build.
let fuzzDriver: [Target] =
    Context.environment["SLUICE_FUZZ"] == nil
    ? []
    : [
        .executableTarget(
            name: "FuzzDriver", dependencies: ["Fuzzing"], path: "Tests/FuzzDriver")
    ]

let package = Package(
    name: "sluice",
    products: [.executable(name: "sluice", targets: ["sluice"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
    ],
    targets: [
        // Ground: C.
        .target(name: "CPlatform", path: "\(ground)/CPlatform"),
        .target(name: "CScan", path: "\(ground)/CScan"),
        .systemLibrary(
            name: "CNGHTTP2", path: "\(ground)/CNGHTTP2", pkgConfig: "libnghttp2",
            providers: [.apt(["libnghttp2-dev"])]),
        .systemLibrary(
            name: "CYAML", path: "\(ground)/CYAML", pkgConfig: "yaml-0.1",
            providers: [.apt(["libyaml-dev"])]),
        .systemLibrary(
            name: "CZlib", path: "\(ground)/CZlib", pkgConfig: "zlib",
            providers: [.apt(["zlib1g-dev"])]),
        .target(
            name: "COpenSSL", path: "\(ground)/COpenSSL",
            linkerSettings: [.linkedLibrary("ssl"), .linkedLibrary("crypto")]),
        .target(
            name: "CRE2", path: "\(ground)/CRE2", cxxSettings: [],
            linkerSettings: [.linkedLibrary("re2"), .linkedLibrary("stdc++")]),
        // Floor 1: bytes, time, ids, hashing.
        .target(name: "Base", dependencies: ["CScan"], swiftSettings: strict),
        // Floor 1b: RFC 9110.
        floor("HTTPSemantics", in: "Codecs", ["Base"]),
        // Floor 2: codecs and the kernel.
        floor("JSON", in: "Codecs"),
        floor("HTTP1", in: "Codecs", ["Base", "HTTPSemantics"]),
        floor("HTTP2", in: "Codecs", ["CNGHTTP2", "Base", "HTTPSemantics", "HTTP1"]),
        floor("TLS", in: "Codecs", ["COpenSSL", "Base"]),
        floor("YAML", in: "Codecs", ["CYAML", "Base"]),
        floor("RE2", in: "Codecs", ["CRE2", "Base"]),
        floor("Gzip", in: "Codecs", ["CZlib", "Base"]),
        floor("Platform", in: "Kernel", ["CPlatform", "Base"]),
        // Floor 3: policy.
        floor("Routing", in: "Policy", ["Base", "HTTPSemantics", "RE2"]),
        floor("Upstream", in: "Policy", ["Base"]),
        floor("Telemetry", in: "Policy", ["Base", "HTTPSemantics"]),
        // Floor 3: the judge of rollouts; numbers in, evidence out.
        floor("Judge", in: "Policy"),
        // Floor 3: what a split's versions did, for the judge, and the guard's shared sums.
        floor("Evidence", in: "Policy", ["Base", "Judge"]),
        // Floor 3: the plan of a rollout and the machine that follows it.
        floor("Rollout", in: "Policy", ["Base", "JSON", "Judge", "Evidence"]),
        // Floor 3b: the configuration.
        floor(
            "Configuration", in: "Setup",
            [
                "Base", "JSON", "HTTPSemantics", "HTTP2", "YAML", "RE2", "Routing", "Upstream",
                "Telemetry", "Judge", "Evidence", "Rollout",
            ]),
        // Floor 4: the data plane of one worker.
        floor(
            "Rewriting", in: "Plane",
            ["Base", "HTTPSemantics", "HTTP1", "Routing", "Telemetry", "Configuration"]),
        floor(
            "Proxy", in: "Plane",
            [
                "Base", "HTTPSemantics", "HTTP1", "HTTP2", "Routing", "Upstream", "Telemetry",
                "Judge", "Evidence", "Configuration", "Rewriting",
            ]),
        // Floor 4b: what people ask about a process; pure, and told by values.
        floor(
            "Explain", in: "Control",
            [
                "Base", "JSON", "HTTPSemantics", "HTTP1", "Routing", "Upstream", "Evidence",
                "Configuration", "Rewriting",
            ]),
        floor(
            "Admin", in: "Control",
            [
                "Base", "Gzip", "JSON", "HTTPSemantics", "Judge", "Telemetry", "Upstream",
                "Evidence", "Rollout", "Configuration", "Explain",
            ]),
        // Beside the I/O line: the resolver's thread and the demo's origin.
        floor("Resolver", in: "Kernel", ["Platform", "Base"]),
        floor("Origin", in: "Shell", ["Platform", "JSON", "HTTPSemantics", "HTTP1", "Base"]),
        // Floor 4b: files on disk, without a socket.
        floor(
            "Files", in: "Shell",
            [
                "Base", "JSON", "HTTPSemantics", "Platform", "TLS", "Upstream", "Telemetry",
                "Rollout", "Configuration",
            ]),
        // Floor 4b: calls to the world outside, for rollouts.
        floor(
            "Errands", in: "Shell",
            ["Base", "HTTPSemantics", "HTTP1", "TLS", "Platform", "Rollout"]),
        // Floor 5: the only floor that knows both sockets and HTTP.
        floor(
            "Server", in: "Shell",
            [
                "Base", "JSON", "Platform", "HTTPSemantics", "HTTP1", "TLS", "Routing", "Upstream",
                "Telemetry", "Evidence", "Rollout", "Configuration", "Proxy", "Resolver", "Files",
                "Errands", "Admin",
            ]),
        // Roof.
        .executableTarget(
            name: "sluice",
            dependencies: [
                "Base", "JSON", "Platform", "Files", "Explain", "Server", "Configuration",
                "Origin", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ], swiftSettings: strict),
        // What single steps cost: scripts/bench --micro.
        .executableTarget(
            name: "Micro",
            dependencies: [
                "Base", "HTTPSemantics", "HTTP1", "HTTP2", "Routing", "Upstream", "Telemetry",
                "Configuration", "Proxy", "Platform",
            ],
            path: "Benchmarks/Micro", swiftSettings: strict),
        // Tests, one target a floor's target; then the simulated world; then the house's rules.
        tests("BaseTests", ["Base"]),
        tests("HTTP1Tests", ["HTTP1", "HTTPSemantics", "Base", "CScanScalar"]),
        .target(
            name: "CScanScalar", dependencies: ["CScan"], path: "Tests/CScanScalar",
            cSettings: [.headerSearchPath("../../Sources/Ground/CScan/include")]),
        tests("HTTP2Tests", ["HTTP2", "HTTP1", "HTTPSemantics", "Base"]),
        tests("TLSTests", ["TLS", "Support", "Base"]),
        tests("GzipTests", ["Gzip", "CZlib", "Base"]),
        tests("RoutingTests", ["Routing", "RE2", "HTTP1", "HTTPSemantics", "Base"]),
        tests("UpstreamTests", ["Upstream", "Base"]),
        tests("ResolverTests", ["Resolver", "Platform", "Base"]),
        tests("TelemetryTests", ["Telemetry", "HTTPSemantics", "Base"]),
        tests("JudgeTests", ["Judge", "Support", "Base"]),
        tests("EvidenceTests", ["Evidence", "Judge", "Base"]),
        tests(
            "RewritingTests",
            [
                "Rewriting", "Configuration", "Routing", "Telemetry", "HTTP1", "HTTPSemantics",
                "Base",
            ]),
        tests(
            "ConfigurationTests",
            [
                "Configuration", "JSON", "Routing", "Upstream", "Judge", "Evidence", "Rollout",
                "Telemetry", "YAML", "Base",
            ]),
        // Disks and the like that tests of several targets share.
        .target(
            name: "Support", dependencies: ["Platform", "TLS", "Base"], path: "Tests/Support",
            swiftSettings: strict),
        tests("JSONTests", ["JSON", "Base"]),
        tests(
            "RolloutTests",
            ["Configuration", "Rollout", "Judge", "Evidence", "JSON", "Support", "Base"]),
        tests(
            "FilesTests",
            ["Files", "Support", "Configuration", "Rollout", "TLS", "Platform", "Base"]),
        tests(
            "ErrandsTests", ["Errands", "Rollout", "TLS", "Platform", "Support", "Base"]),
        tests("ServerTests", ["Server", "Configuration", "Base"]),
        tests("AdminTests", ["Admin", "Configuration", "Telemetry", "Base"]),
        tests(
            "ExplainTests",
            [
                "Explain", "Proxy", "Configuration", "JSON", "Routing", "Telemetry", "Base",
            ]),
        .target(
            name: "Simulation",
            dependencies: [
                "Proxy", "Configuration", "Rollout", "Evidence", "Telemetry", "HTTP1", "HTTP2",
                "HTTPSemantics", "Base",
            ], path: "Tests/Simulation", swiftSettings: strict),
        tests(
            "SimulationTests",
            ["Simulation", "Configuration", "Rollout", "Evidence", "Telemetry", "Support", "Base"]),
        .executableTarget(
            name: "Simulate", dependencies: ["Simulation", "Platform", "Base"],
            path: "Tests/Simulate"),
        // What hostile bytes are shown to; scripts/fuzz builds a driver around it.
        .target(
            name: "Fuzzing",
            dependencies: [
                "Proxy", "Configuration", "Rollout", "Telemetry", "Routing", "JSON", "YAML",
                "HTTP1", "HTTP2", "HTTPSemantics", "Base",
            ], path: "Tests/Fuzzing", swiftSettings: strict),
        tests("FuzzingTests", ["Fuzzing", "Base"]),
        tests("TidyTests", []),
    ] + fuzzDriver,
    swiftLanguageModes: [.v6],
    cLanguageStandard: .gnu11,
    cxxLanguageStandard: .cxx17
)
