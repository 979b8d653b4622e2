import Base
import Errands
import Testing

@Suite struct AddressRuleTests {
    private func problem(_ text: String, admin: [String] = [], local: String? = nil) -> String? {
        AddressRules.problem(
            Address(text)!, admin: admin.map { Address($0)! }, local: local.flatMap { Address($0) })
    }

    @Test(
        "link-local addresses are refused in each form that a name server may give",
        arguments: [
            "169.254.169.254:80", "169.254.0.1:1", "[fe80::1]:80", "[febf::1]:80",
            "[::ffff:169.254.169.254]:80", "[::169.254.1.1]:80", "[64:ff9b::a9fe:a9fe]:80",
        ])
    func linkLocal(_ text: String) { #expect(problem(text) != nil) }

    @Test(
        "addresses beside the link-local ranges are called",
        arguments: [
            "169.253.255.255:80", "169.255.0.0:80", "[fec0::1]:80", "[fe7f::1]:80", "10.0.0.1:80",
            "[::1]:80", "127.0.0.1:80", "[2001:db8::a9fe:a9fe]:80",
        ])
    func others(_ text: String) { #expect(problem(text) == nil) }

    @Test("the own admin address is refused, whichever way leads there")
    func admin() {
        #expect(problem("127.0.0.1:15000", admin: ["127.0.0.1:15000"]) != nil)
        #expect(problem("127.0.0.1:15020", admin: ["127.0.0.1:15000"]) == nil)
        // All of the loopback range is this machine, and 0.0.0.0 leads to it.
        #expect(problem("127.0.0.2:15000", admin: ["127.0.0.1:15000"]) != nil)
        #expect(problem("0.0.0.0:15000", admin: ["127.0.0.1:15000"]) != nil)
        #expect(problem("[::ffff:127.0.0.1]:15000", admin: ["127.0.0.1:15000"]) != nil)
        #expect(problem("[::1]:15000", admin: ["[::]:15000"]) != nil)
        #expect(problem("10.0.0.5:15000", admin: ["10.0.0.5:15000"]) != nil)
        #expect(problem("10.0.0.6:15000", admin: ["10.0.0.5:15000"]) == nil)
    }

    @Test("an admin endpoint on all addresses is told by this side's address of the connection")
    func wildcard() {
        let admin = ["0.0.0.0:15000"]
        #expect(problem("10.0.0.5:15000", admin: admin, local: "10.0.0.5:40000") != nil)
        #expect(problem("10.0.0.6:15000", admin: admin, local: "10.0.0.5:40000") == nil)
        #expect(problem("10.0.0.5:15001", admin: admin, local: "10.0.0.5:40000") == nil)
    }
}
