"""HTTP/1.1 in cases: RFC 9112 and RFC 9110, the section on each. Read by test_h1_conformance.py.

A request: section, what it is, its bytes, the status that answers it, what reached the origin (`None`: nothing; texts that
are in its head; `-name`: a field that is not, `!text`: a text that is not; bytes: the body), whether the connection is still in step.
A response: section, what it is, the origin's bytes, the status the client gets, what it is shown (as above), how the body
ends ("whole", "cut"), and whether the client's connection is still in step.
"""
HOST = "Host: a.test"


def req(line="GET / HTTP/1.1", *fields, host=HOST, body=b""):
    head = [line] + ([host] if host else []) + list(fields)
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def post(*fields, body=b"", line="POST /p HTTP/1.1"):
    return req(line, *fields, body=body)


def chunked(body, *fields, line="POST /p HTTP/1.1"):
    return req(line, "Transfer-Encoding: chunked", *fields, body=body)


def bad(section, what, raw, status=400):
    return (section, what, raw, status, None, False)


def good(section, what, raw, *reached, status=200, step=True):
    return (section, what, raw, status, reached, step)


def name(byte):
    return f"0x{byte:02x}" if byte <= 0x20 or byte >= 0x7f else f"`{chr(byte)}`"


TCHAR = b"!#$%&'*+-.^_`|~"
SEPARATORS = b"\"(),/:;<=>?@[\\]{}"
# RFC 9112 §7.1.1, and what it has no place for. Blanks in front of the CRLF are taken from origins alone: small devices and old
# balancers pad sizes so, and what goes on to the client is without them.
EXTENSIONS = (b";a", b";a=b", b";a=\"b\"", b";a;b=c", b" ;a", b"\t;\ta", b"; a = b", b";a=\"\"", b";a=\"b \t;=,\"", b";a=\"b\\\"c\"", b";a=\"\\\\\"",
              b";a=\"\x80\xff\"", b";a=\"b\";c", b";a=\"b\" ; c = \"d\"", b";!#$%&'*+-.^_`|~=!", b";1=2", b";a" * 300)
NO_EXTENSIONS = (b";", b"; ", b";;a", b";a;", b";a; ", b";=", b";=b", b";a=", b";a= ", b";a==b", b";a=b=c", b";a b", b";a=b c", b";a=\"b", b";a=\"b\\\"",
                 b";a=b\"", b";a=\"b\"c", b";a=\"b\"\"c\"", b";\"a\"", b";\"a\"=b", b";a,b", b";a=b,c", b";a/b", b";a=b/c", b";a=[b]", b";a=\x80", b";\x80",
                 b";a=\"\x01\"", b";a=\"\\\x01\"", b";a=\"\x7f\"", b";a=\"\\\x00\"", b" a", b" 5", b"\ta", b",a", b" =a", b"=a", b":a", b"\x0b;a", b"\x80")
PADDING = (b" ", b"\t", b"   ", b";a ", b";a=\"b\"\t")
CONTROLS = [b for b in range(1, 32) if b not in (9, 10, 13)] + [127]

MESSAGES = [
    good("9112 2.2", "one empty line before the request line", b"\r\n" + req(), "GET / HTTP/1.1"),
    bad("9112 2.2", "two empty lines before it", b"\r\n\r\n" + req()),
    bad("9112 2.2", "an empty line of LF alone before it", b"\n" + req()),
    bad("9112 2.2", "lines that end with LF alone", req().replace(b"\r\n", b"\n")),
    bad("9112 2.2", "the request line ends with LF alone", b"GET / HTTP/1.1\n" + HOST.encode() + b"\r\n\r\n"),
    bad("9112 2.2", "one field line ends with LF alone", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    bad("9112 2.2", "the head ends with LF alone", b"GET / HTTP/1.1\r\nHost: a.test\r\n\n"),
    bad("9112 2.2", "CR alone in a value", req("GET / HTTP/1.1", "X: a\rb")),
    bad("9112 2.2", "CR CR LF", b"GET / HTTP/1.1\r\nHost: a.test\r\r\n\r\n"),
    bad("9112 2.2", "white space before the first field", req("GET / HTTP/1.1", HOST, host=" X: y")),
    bad("9112 2.2", "a tab before the first field", req("GET / HTTP/1.1", HOST, host="\tX: y")),
    bad("9112 2.2", "bytes that are no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    bad("9112 2.2", "a response", b"HTTP/1.1 200 OK\r\nHost: a.test\r\n\r\n"),
    bad("9112 2.3", "no version: HTTP/0.9", b"GET /\r\n\r\n"),
    bad("9112 2.3", "a version in lower case", req("GET / http/1.1")),
    bad("9112 2.3", "HTTP/11", req("GET / HTTP/11")),
    bad("9112 2.3", "HTTP/1.", req("GET / HTTP/1.")),
    bad("9112 2.3", "HTTP/1.10", req("GET / HTTP/1.10")),
    bad("9112 2.3", "HTTP/1.x", req("GET / HTTP/1.x")),
    bad("9112 2.3", "HTTPS/1.1", req("GET / HTTPS/1.1")),
    bad("9112 2.3", "HTTP/0.9 in words", req("GET / HTTP/0.9"), 505),
    bad("9112 2.3", "HTTP/2.0", req("GET / HTTP/2.0"), 505),
    bad("9112 2.3", "HTTP/9.9", req("GET / HTTP/9.9"), 505),
    good("9112 2.3", "HTTP/1.2 is read as 1.1", req("GET / HTTP/1.2"), "GET / HTTP/1.1"),
    good("9112 2.3", "HTTP/1.0 goes on as 1.1", req("GET / HTTP/1.0"), "GET / HTTP/1.1", step=False),
]

METHODS = [
    good("9110 9.1", f"{method} goes on as it is", req(f"{method} /m HTTP/1.1"), f"{method} /m HTTP/1.1")
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "M-SEARCH", "get", "X" * 40)
] + [
    good("9110 5.6.2", f"a method with {name(b)}", req(f"A{chr(b)}B / HTTP/1.1"), f"A{chr(b)}B / HTTP/1.1") for b in TCHAR
] + [
    bad("9110 5.6.2", f"a method with {name(b)}", req(f"A{chr(b)}B / HTTP/1.1")) for b in SEPARATORS + b"\x01\x7f\x80"
] + [
    bad("9112 3", "no method", req(" / HTTP/1.1")),
    bad("9112 3", "two spaces behind the method", req("GET  / HTTP/1.1")),
    bad("9112 3", "two spaces before the version", req("GET /  HTTP/1.1")),
    bad("9112 3", "a space behind the version", req("GET / HTTP/1.1 ")),
    bad("9112 3", "a tab behind the method", req("GET\t/ HTTP/1.1")),
    bad("9112 3", "a tab before the version", req("GET /\tHTTP/1.1")),
    bad("9112 3", "a vertical tab between", req("GET\x0b/ HTTP/1.1")),
    bad("9112 3", "no target", req("GET  HTTP/1.1")),
    bad("9112 3", "nothing but a method", b"GET\r\n" + HOST.encode() + b"\r\n\r\n"),
    bad("9112 3", "a method above the line's length", req("G" * 40000 + " / HTTP/1.1"), 414),
    bad("9112 3", "a target above the line's length", req("GET /" + "a" * 40000 + " HTTP/1.1"), 414),
]

TARGETS = [
    good("9112 3.2.1", f"a path with {name(b)}", req(f"GET /a{chr(b)}b HTTP/1.1"), f"GET /a{chr(b)}b HTTP/1.1")
    for b in b"-._~!$&'()*+,;=:@"
] + [
    good("9112 3.2.1", f"a path with {name(b)}, as clients send it", req(f"GET /a{chr(b)}b HTTP/1.1"), f"GET /a{chr(b)}b HTTP/1.1")
    for b in b"\"<>[\\]^`{|}\x80\xc3\xff"
] + [
    bad("9112 3.2.1", f"a path with {name(b)}", req(f"GET /a{chr(b)}b HTTP/1.1")) for b in b"#\x01\x1f\x7f"
] + [
    good("9112 3.2.1", f"a query with {name(b)}, as browsers send it", req(f"GET /?a{chr(b)}b HTTP/1.1"), f"GET /?a{chr(b)}b HTTP/1.1")
    for b in b"/?:@!$&'()*+,;=[]{}|^`\"<>\\%\x80\xff"
] + [
    bad("9112 3.2.1", f"a query with {name(b)}", req(f"GET /?a{chr(b)}b HTTP/1.1")) for b in b"#\x01\x7f"
] + [
    good("9112 3.2.1", "an escape goes on as it came", req("GET /%41%2f%c3%a9 HTTP/1.1"), "GET /%41%2f%c3%a9 HTTP/1.1"),
    good("9112 3.2.1", "dot segments go on as they came", req("GET /a/./b/../c HTTP/1.1"), "GET /a/./b/../c HTTP/1.1"),
    good("9112 3.2.1", "an empty query", req("GET /? HTTP/1.1"), "GET /? HTTP/1.1"),
    bad("9112 3.2.1", "an escaped NUL", req("GET /a%00b HTTP/1.1")),
    good("9112 3.2.1", "half an escape goes on as it came", req("GET /a%4 HTTP/1.1"), "GET /a%4 HTTP/1.1"),
    good("9112 3.2.1", "an escape of no hexadecimal digits does", req("GET /a%zz HTTP/1.1"), "GET /a%zz HTTP/1.1"),
    good("9112 3.2.1", "a percent sign at the end does", req("GET /100% HTTP/1.1"), "GET /100% HTTP/1.1"),
    bad("9112 3.2.1", "an escaped NUL behind a raw character", req("GET /a|b%00 HTTP/1.1")),
    bad("9112 3.2.1", "dots that leave the root behind a raw character", req("GET /a|b/../../c HTTP/1.1")),
    bad("9112 3.2.1", "a raw character in front of the path", req("GET |/a HTTP/1.1")),
    bad("9112 3.2.1", "a backslash in front of the path", req("GET \\a HTTP/1.1")),
    bad("9112 3.2.1", "dots that leave the root", req("GET /../a HTTP/1.1")),
    bad("9112 3.2.1", "escaped dots that leave the root", req("GET /%2e%2e/a HTTP/1.1")),
    bad("9112 3.2", "a target without a slash", req("GET a HTTP/1.1")),
    bad("9112 3.2", "a query alone", req("GET ?a HTTP/1.1")),
    good("9112 3.2.2", "absolute form", req("GET http://a.test/x?y HTTP/1.1"), "GET /x?y HTTP/1.1", "Host: a.test"),
    good("9112 3.2.2", "absolute form, scheme in capitals", req("GET HTTP://a.test/x HTTP/1.1"), "GET /x HTTP/1.1"),
    good("9112 3.2.2", "absolute form without a path", req("GET http://a.test HTTP/1.1"), "GET / HTTP/1.1"),
    good("9112 3.2.2", "absolute form with a query and no path", req("GET http://a.test?q HTTP/1.1"), "GET /?q HTTP/1.1"),
    good("9112 3.2.2", "absolute form with a port", req("GET http://a.test:80/ HTTP/1.1", host="Host: a.test:80"), "GET / HTTP/1.1"),
    good("9112 3.2.2", "absolute form of an IPv6 address", req("GET http://[::1]/ HTTP/1.1", host="Host: [::1]"), "GET / HTTP/1.1"),
    bad("9112 3.2.2", "absolute form of another host than Host", req("GET http://b.test/ HTTP/1.1")),
    bad("9112 3.2.2", "absolute form with user information", req("GET http://u@a.test/ HTTP/1.1")),
    bad("9112 3.2.2", "absolute form without an authority", req("GET http:///x HTTP/1.1")),
    bad("9112 3.2.2", "absolute form of another scheme", req("GET ftp://a.test/ HTTP/1.1")),
    bad("9112 3.2.2", "absolute form without slashes", req("GET http:a.test/ HTTP/1.1")),
    bad("9112 3.2.3", "authority form of another method", req("GET a.test:80 HTTP/1.1")),
    bad("9112 3.2.3", "CONNECT where no route allows it", req("CONNECT a.test:80 HTTP/1.1", host="Host: a.test:80"), 405),
    bad("9112 3.2.3", "CONNECT without a port", req("CONNECT a.test HTTP/1.1")),
    bad("9112 3.2.3", "CONNECT of a path", req("CONNECT / HTTP/1.1")),
    good("9112 3.2.4", "asterisk form", req("OPTIONS * HTTP/1.1"), "OPTIONS * HTTP/1.1"),
    good("9112 3.2.4", "absolute form that means it", req("OPTIONS http://a.test HTTP/1.1"), "OPTIONS * HTTP/1.1"),
    bad("9112 3.2.4", "asterisk form of another method", req("GET * HTTP/1.1")),
    bad("9112 3.2.4", "an asterisk and more", req("OPTIONS *a HTTP/1.1")),
    bad("9112 3.2", "no Host", req(host=None)),
    bad("9112 3.2", "two Hosts", req("GET / HTTP/1.1", "Host: b.test")),
    bad("9112 3.2", "the same Host twice", req("GET / HTTP/1.1", HOST)),
    good("9112 3.2", "no Host in HTTP/1.0", req("GET / HTTP/1.0", host=None), "host: s", step=False),
] + [
    good("9110 7.2", f"Host {host}", req(host=f"Host: {host}"), f"Host: {host}")
    for host in ("a", "A.TEST", "a.test:8080", "a.test:", "127.0.0.1:80", "[::1]", "[2001:db8::1]:443", "a_b.test", "xn--a-8fa.test", "a-b.", "a!$&'()*+;=~")
] + [
    bad("9110 7.2", f"Host {host!r}", req(host=f"Host: {host}"))
    for host in ("a b", "a/b", "u@a", "a,b", "[::1", "a:b", "a:80:80", "a:123456", "http://a", "a?b", "a#b", "a\\b", "\x80", ":80", "[]", "a\"", "a%41")
]

FIELDS = [
    good("9110 5.6.2", f"a name with {name(b)}", req("GET / HTTP/1.1", f"X{chr(b)}Y: v"), f"X{chr(b)}Y: v") for b in TCHAR
] + [
    bad("9110 5.6.2", f"a name with {name(b)}", req("GET / HTTP/1.1", f"X{chr(b)}Y: v")) for b in b"\"(),/;<=>?@[\\]{} \t\x01\x7f\x80\xff"
] + [
    bad("9110 5.5", f"a value with {name(b)}", req("GET / HTTP/1.1", f"X: a{chr(b)}b")) for b in [0] + CONTROLS
] + [
    good("9110 5.5", f"a value with {name(b)}", req("GET / HTTP/1.1", f"X: a{chr(b)}b"), f"X: a{chr(b)}b") for b in (9, 32, 0x22, 0x80, 0xa0, 0xff)
] + [
    bad("9112 5", "a line without a colon", req("GET / HTTP/1.1", "X")),
    bad("9112 5", "an empty name", req("GET / HTTP/1.1", ": v")),
    bad("9112 5.1", "a space before the colon", req("GET / HTTP/1.1", "X : v")),
    bad("9112 5.1", "a tab before the colon", req("GET / HTTP/1.1", "X\t: v")),
    bad("9112 5.2", "a folded line", req("GET / HTTP/1.1", "X: a\r\n b")),
    bad("9112 5.2", "a folded line with a tab", req("GET / HTTP/1.1", "X: a\r\n\tb")),
    bad("9112 5.2", "a folded empty line", req("GET / HTTP/1.1", "X: a\r\n ")),
    good("9112 5", "white space around a value goes", req("GET / HTTP/1.1", "X: \t v \t "), "X: v\r\n"),
    good("9112 5", "no white space before a value", req("GET / HTTP/1.1", "X:v"), "X: v"),
    good("9112 5", "an empty value", req("GET / HTTP/1.1", "X:"), "X: \r\n"),
    good("9112 5", "a value of white space alone", req("GET / HTTP/1.1", "X:  \t "), "X: \r\n"),
    good("9110 5.3", "lines of one name keep their order", req("GET / HTTP/1.1", "X: 1", "Y: 2", "x: 3"), "X: 1\r\nY: 2\r\nx: 3"),
    good("9110 5.1", "a name's case stays", req("GET / HTTP/1.1", "wEiRd: v"), "wEiRd: v"),
    bad("9110 5.4", "more fields than the limit", req("GET / HTTP/1.1", *["X: y"] * 120), 431),
    bad("9110 5.4", "a head above the limit", req("GET / HTTP/1.1", "X: " + "y" * 70000), 431),
    good("9110 5.4", "a large head below the limit", req("GET / HTTP/1.1", "X: " + "y" * 30000), "X: yyyy"),
]

LENGTHS = [
    good("9112 6.3", "a length", post("Content-Length: 5", body=b"hello"), "POST /p", b"hello"),
    good("9112 6.3", "a length with leading zeros", post("Content-Length: 005", body=b"hello"), b"hello"),
    good("9112 6.3", "length 0", post("Content-Length: 0"), "POST /p", b""),
    good("9112 6.3", "neither length nor coding: no body", post(), "POST /p", b""),
    good("9112 6.3", "a GET with a body", req("GET /g HTTP/1.1", "Content-Length: 5", body=b"hello"), "GET /g", b"hello"),
    good("9112 6.3", "a DELETE with a body", req("DELETE /d HTTP/1.1", "Content-Length: 2", body=b"hi"), b"hi"),
    good("9112 6.3", "a body that looks like a request", post("Content-Length: 18", body=b"GET / HTTP/1.1\r\n\r\n"), b"GET / HTTP/1.1\r\n\r\n"),
    bad("9112 6.3", "a length and a coding", post("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    bad("9112 6.3", "a coding and a length", post("Transfer-Encoding: chunked", "Content-Length: 5", body=b"0\r\n\r\n")),
    bad("9112 6.3", "two lengths that differ", post("Content-Length: 5", "Content-Length: 6", body=b"hello")),
    bad("9112 6.3", "two lengths that agree", post("Content-Length: 5", "Content-Length: 5", body=b"hello")),
    bad("9110 8.6", "a length above the limit", post("Content-Length: 99999999"), 413),
] + [
    bad("9110 8.6", f"length {value!r}", post(f"Content-Length: {value}", body=b"hello"))
    for value in ("+5", "-5", "5, 5", "5,5", "5,6", "", "0x5", "5 5", "5.0", "five", "5;", "\"5\"", "5\t5", "99999999999999999999", "18446744073709551617", "\xb2")
] + [
    good("9112 7", f"coding {value!r}", post(f"Transfer-Encoding: {value}", body=b"5\r\nhello\r\n0\r\n\r\n"), "chunked", b"hello")
    for value in ("chunked", "Chunked", "CHUNKED", " chunked", "chunked\t")
] + [
    bad("9112 6.1", f"coding {value!r}", post(f"Transfer-Encoding: {value}", body=b"5\r\nhello\r\n0\r\n\r\n"), status)
    for value, status in (
        ("gzip", 501), ("gzip, chunked", 501), ("identity", 501), ("xchunked", 501), ("chunkedx", 501), ("chunked, gzip", 501),
        ("chunked, chunked", 501), ("chunked, identity", 501), ("", 400), ("\"chunked\"", 400), ("chunked;q=1", 501), (",", 501), ("chun ked", 501))
] + [
    bad("9112 6.1", "two codings in two lines", post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    bad("9112 6.1", "another coding in a second line", post("Transfer-Encoding: chunked", "Transfer-Encoding: identity", body=b"0\r\n\r\n")),
    bad("9112 6.1", "a coding in HTTP/1.0", chunked(b"0\r\n\r\n", line="POST /p HTTP/1.0")),
    bad("9112 5.1", "a coding with a space before its colon", post("Transfer-Encoding : chunked", body=b"0\r\n\r\n")),
    bad("9112 5.2", "a coding in a folded line", post("Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n")),
]

CHUNKED = "Transfer-Encoding: chunked"
NO_SIZES = (b"-5", b"+5", b"0x5", b"g", b"", b" 5", b"5g", b"5,", b"5\x00", b"5;\x01", b"5\x0b", b"1000000000000000", b"fffffffffffffffff", b"5;a\rb", b"5\r")

CHUNKS = [
    good("9112 7.1", what, chunked(body), b"hello") for what, body in (
        ("one chunk", b"5\r\nhello\r\n0\r\n\r\n"), ("two chunks", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        ("a size with zeros before it", b"0005\r\nhello\r\n0\r\n\r\n"), ("a last chunk of many zeros", b"5\r\nhello\r\n00000\r\n\r\n"),
        ("chunks of a byte", b"1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n"))
] + [
    good("9112 7.1", "sizes in capital digits", chunked(b"A\r\n0123456789\r\n0\r\n\r\n"), b"0123456789"),
    good("9112 7.1", "sizes in small digits", chunked(b"a\r\n0123456789\r\n0\r\n\r\n"), b"0123456789"),
    good("9112 7.1", "no content", chunked(b"0\r\n\r\n"), b""),
] + [
    good("9112 7.1.1", f"an extension {ext!r} goes", chunked(b"5" + ext + b"\r\nhello\r\n0\r\n\r\n"), b"hello")
    for ext in EXTENSIONS
] + [
    bad("9112 7.1.1", f"an extension {ext!r}", chunked(b"5" + ext + b"\r\nhello\r\n0\r\n\r\n")) for ext in NO_EXTENSIONS + PADDING
] + [
    bad("9112 7.1.1", f"an extension {ext!r} of the last chunk", chunked(b"5\r\nhello\r\n0" + ext + b"\r\n\r\n")) for ext in NO_EXTENSIONS + PADDING
] + [
    bad("9112 7.1", f"a size line {line!r}", chunked(line + b"\r\nhello\r\n0\r\n\r\n"))
    for line in NO_SIZES
] + [
    bad("9112 7.1", "a size line that ends with LF alone", chunked(b"5\nhello\r\n0\r\n\r\n")),
    bad("9112 7.1", "an extension with LF alone", chunked(b"5;a\nhello\r\n0\r\n\r\n")),
    bad("9112 7.1", "more content than its size", chunked(b"4\r\nhello\r\n0\r\n\r\n")),
    bad("9112 7.1", "less content than its size", chunked(b"6\r\nhello\r\n0\r\n\r\n")),
    bad("9112 7.1", "no CRLF behind the content", chunked(b"5\r\nhello0\r\n\r\n")),
    bad("9112 7.1", "LF alone behind the content", chunked(b"5\r\nhello\n0\r\n\r\n")),
    bad("9112 7.1.1", "an extension above the limit", chunked(b"5;" + b"a" * 2000 + b"\r\nhello\r\n0\r\n\r\n")),
    bad("9112 7.1.1", "extensions above the limit in all", chunked(b"1;" + b"a" * 900 + b"\r\nh\r\n" + (b"1;" + b"a" * 900 + b"\r\nh\r\n") * 20 + b"0\r\n\r\n")),
    good("9112 7.1.2", "a trailer", chunked(b"5\r\nhello\r\n0\r\nX-T: v\r\n\r\n"), b"hello"),
    bad("9112 7.1.2", "a trailer without a name", chunked(b"5\r\nhello\r\n0\r\n: v\r\n\r\n")),
    bad("9112 7.1.2", "a trailer with a space before its colon", chunked(b"5\r\nhello\r\n0\r\nX : v\r\n\r\n")),
    bad("9112 7.1.2", "a trailer with a control character", chunked(b"5\r\nhello\r\n0\r\nX: \x01\r\n\r\n")),
    bad("9112 7.1.2", "a folded trailer", chunked(b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n")),
    bad("9112 7.1.2", "a trailer that ends with LF alone", chunked(b"5\r\nhello\r\n0\r\nX: a\n\r\n")),
    bad("9112 7.1.2", "trailers above the limit", chunked(b"0\r\n" + b"X: " + b"y" * 70000 + b"\r\n\r\n"), 431),
]

CONNECTIONS = [
    good("9112 9.3", "a connection persists", req(), "GET / HTTP/1.1"),
    good("9112 9.6", "Connection: close", req("GET / HTTP/1.1", "Connection: close"), "-connection", step=False),
    good("9112 9.6", "Connection: Close among others", req("GET / HTTP/1.1", "Connection: x-a, Close"), step=False),
    good("9112 9.6", "Connection: close in a second line", req("GET / HTTP/1.1", "Connection: x-a", "Connection: close"), step=False),
    good("9112 9.3", "Connection: keep-alive", req("GET / HTTP/1.1", "Connection: keep-alive"), "-keep-alive"),
    good("9112 9.3", "HTTP/1.0 with keep-alive", req("GET / HTTP/1.0", "Connection: keep-alive")),
    good("9112 9.3", "HTTP/1.0 with close", req("GET / HTTP/1.0", "Connection: close"), step=False),
    good("9110 7.6.1", "a nominated field goes", req("GET / HTTP/1.1", "Connection: X-A", "X-A: 1", "X-B: 2"), "-x-a", "X-B: 2"),
    good("9110 7.6.1", "a field nominated in another case", req("GET / HTTP/1.1", "Connection: x-a", "X-A: 1"), "-x-a"),
    good("9110 7.6.1", "a nominated field before its nomination", req("GET / HTTP/1.1", "X-A: 1", "Connection: X-A"), "-x-a"),
    good("9110 7.6.1", "several nominations, empty ones among them", req("GET / HTTP/1.1", "Connection: ,x-a,, x-b ,", "x-a: 1", "x-b: 2"), "-x-a", "-x-b"),
    good("9110 7.6.1", "a nominated Host stays", req("GET / HTTP/1.1", "Connection: Host"), "Host: a.test"),
    good("9110 7.6.1", "a nominated length stays", post("Connection: Content-Length", "Content-Length: 5", body=b"hello"), b"hello"),
    good("9110 7.6.1", "a nominated coding stays", chunked(b"5\r\nhello\r\n0\r\n\r\n", "Connection: Transfer-Encoding"), b"hello"),
    good("9110 7.6.1", "64 nominations", req("GET / HTTP/1.1", "Connection: " + ",".join(["x-a"] * 64), "x-a: 1"), "-x-a"),
    bad("9110 7.6.1", "more nominations than anybody needs", req("GET / HTTP/1.1", "Connection: " + ",".join(["x-a"] * 65), "x-a: 1")),
    bad("9110 7.6.1", "as many in two lines", req("GET / HTTP/1.1", *["Connection: " + ",".join(["x-a"] * 33)] * 2)),
    bad("9110 7.6.1", "a nomination that is no token", req("GET / HTTP/1.1", "Connection: a b")),
    good("9110 7.6.1", "Keep-Alive goes", req("GET / HTTP/1.1", "Keep-Alive: timeout=5"), "-keep-alive"),
    good("9110 7.6.1", "Proxy-Connection goes", req("GET / HTTP/1.1", "Proxy-Connection: keep-alive"), "-proxy-connection"),
    good("9110 11.7.2", "Proxy-Authorization goes on: who asked for it is behind", req("GET / HTTP/1.1", "Proxy-Authorization: Basic eA=="), "Proxy-Authorization: Basic eA=="),
    good("9110 10.1.4", "TE goes", req("GET / HTTP/1.1", "TE: gzip", "Connection: TE"), "-te"),
    good("9110 7.8", "an upgrade without its nomination goes", req("GET / HTTP/1.1", "Upgrade: websocket"), "-upgrade"),
    good("9110 7.8", "an upgrade to h2c goes", req("GET / HTTP/1.1", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"), "-upgrade", "-http2-settings"),
    good("9110 10.1.1", "100-continue", post("Expect: 100-continue", "Content-Length: 5", body=b"hello"), b"hello"),
    good("9110 10.1.1", "100-Continue in another case", post("Expect: 100-Continue", "Content-Length: 5", body=b"hello"), b"hello"),
    good("9110 10.1.1", "100-continue without a body", req("GET / HTTP/1.1", "Expect: 100-continue")),
    good("9110 10.1.1", "100-continue in HTTP/1.0 means nothing", post("Expect: 100-continue", "Content-Length: 5", line="POST /p HTTP/1.0", body=b"hello"), b"hello", step=False),
    bad("9110 10.1.1", "another expectation", req("GET / HTTP/1.1", "Expect: tea"), 417),
    good("9110 7.6.3", "Via goes on", req("GET / HTTP/1.1", "Via: 1.1 x"), "Via: 1.1 x"),
] + [
    good("9110 7.6.2", f"{method} with Max-Forwards {sent} goes on with {left}", req(f"{method} /m HTTP/1.1", f"Max-Forwards: {sent}"), f"max-forwards: {left}", "!Max-Forwards")
    for method in ("OPTIONS", "TRACE") for sent, left in (("1", 0), ("5", 4), ("10", 9), ("007", 6), ("9" * 30, 999_999_999))
] + [
    (("9110 7.6.2", f"{method} with Max-Forwards 0 goes no further", req(f"{method} /m HTTP/1.1", "Max-Forwards: 0"), 200, None, True))
    for method in ("OPTIONS", "TRACE")
] + [
    bad("9110 7.6.2", f"{method} with Max-Forwards {value!r}", req(f"{method} /m HTTP/1.1", f"Max-Forwards: {value}"))
    for method in ("OPTIONS", "TRACE") for value in ("", "-1", "+1", "1.0", "x", "1 2", "0x1", "1,1")
] + [
    bad("9110 7.6.2", "Max-Forwards twice", req("OPTIONS / HTTP/1.1", "Max-Forwards: 1", "Max-Forwards: 1")),
    good("9110 7.6.2", "Max-Forwards of another method goes on as it came", req("GET / HTTP/1.1", "Max-Forwards: 0"), "Max-Forwards: 0"),
    good("9110 7.6.2", "a nominated Max-Forwards goes", req("OPTIONS / HTTP/1.1", "Max-Forwards: 0", "Connection: Max-Forwards"), "-max-forwards"),
    good("9110 7.6.2", "no Max-Forwards, no limit", req("OPTIONS * HTTP/1.1"), "OPTIONS * HTTP/1.1", "-max-forwards"),
    good("9110 9.3.2", "HEAD has no body", req("HEAD / HTTP/1.1"), "HEAD / HTTP/1.1"),
]

REQUESTS = MESSAGES + METHODS + TARGETS + FIELDS + LENGTHS + CHUNKS + CONNECTIONS


def res(line="HTTP/1.1 200 OK", *fields, body=b"ok", length=True):
    head = [line] + ([f"Content-Length: {len(body)}"] if length else []) + list(fields)
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def shown(section, what, raw, status=200, *seen, end="whole", step=True, method="GET"):
    return (section, what, raw, status, seen, end, step, method)


def wrong(section, what, raw):
    """The client is told, and its connection goes on."""
    return (section, what, raw, 502, (), "whole", True, "GET")


RESPONSES = [
    shown("9110 15", f"status {code}", res(f"HTTP/1.1 {code} X"), code, f"HTTP/1.1 {code} X")
    for code in (200, 201, 202, 203, 206, 207, 208, 226, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410,
                 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 500, 501, 502, 503, 504, 505, 511, 599, 600, 999)
] + [
    shown("9112 6.3", "204 has no body", res("HTTP/1.1 204 No Content", body=b"", length=False), 204, b""),
    shown("9112 6.3", "304 has no body, whatever its length says", res("HTTP/1.1 304 X", "Content-Length: 5", "ETag: \"a\"", body=b"", length=False), 304, b"", "ETag: \"a\""),
    shown("9112 6.3", "HEAD has none", res("HTTP/1.1 200 OK", "Content-Length: 5", body=b"", length=False), 200, b"", "Content-Length: 5", method="HEAD"),
    shown("9112 6.3", "HEAD has none, chunked or not", res("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"", length=False), 200, b"", method="HEAD"),
    shown("9112 4", "an empty reason", res("HTTP/1.1 200 "), 200, b"ok"),
    shown("9112 4", "no reason and no space", res("HTTP/1.1 200"), 200, b"ok"),
    shown("9112 4", "a reason with bytes above 127", res("HTTP/1.1 200 \xc3\xa9"), 200, b"ok"),
    shown("9112 2.3", "HTTP/1.0", res("HTTP/1.0 200 OK"), 200, "HTTP/1.1 200 OK", b"ok"),
    shown("9112 2.3", "HTTP/1.3 is read as 1.1", res("HTTP/1.3 200 OK"), 200, "HTTP/1.1 200 OK"),
] + [
    wrong("9112 4", f"status line {line!r}", res(line)) for line in (
        "http/1.1 200 OK", "HTTP/2 200 OK", "HTTP/2.0 200 OK", "HTTP/1.1  200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 abc OK",
        "HTTP/1.1 099 OK", "HTTP/1.1 -20 OK", "HTTP/1.1200 OK", "HTTP/1.1\t200 OK", "HTTP/1.1 200\tOK", "HTTP/1.1 200 a\x01b", "HTTP/1.1 200 a\x7fb",
        " HTTP/1.1 200 OK", "ICY 200 OK", "200 OK", "GET / HTTP/1.1", "HTTP/1.1 200OK", "")
] + [
    wrong("9112 2.2", "lines that end with LF alone", res().replace(b"\r\n", b"\n")),
    wrong("9112 2.2", "one line that ends with LF alone", b"HTTP/1.1 200 OK\r\nX: y\nContent-Length: 2\r\n\r\nok"),
    wrong("9112 2.2", "CR alone in a value", res("HTTP/1.1 200 OK", "X: a\rb")),
    wrong("9112 2.2", "an empty line first", b"\r\n" + res()),
    wrong("9112 5.2", "a folded line", res("HTTP/1.1 200 OK", "X: a\r\n b")),
    wrong("9112 5", "a line without a colon", res("HTTP/1.1 200 OK", "X")),
    wrong("9112 5", "an empty name", res("HTTP/1.1 200 OK", ": v")),
    wrong("9112 5.1", "a space before the colon", res("HTTP/1.1 200 OK", "X : v")),
    wrong("9110 5.4", "a head above the limit", res("HTTP/1.1 200 OK", "X: " + "y" * 70000)),
    wrong("9110 5.4", "more fields than the limit", res("HTTP/1.1 200 OK", *["X: y"] * 120)),
] + [
    wrong("9110 5.5", f"a value with {name(b)}", res("HTTP/1.1 200 OK", f"X: a{chr(b)}b")) for b in [0] + CONTROLS
] + [
    wrong("9110 5.6.2", f"a name with {name(b)}", res("HTTP/1.1 200 OK", f"X{chr(b)}Y: v")) for b in b"\"(),/;<=>?@[\\]{} \x80"
] + [
    shown("9110 5.5", f"a value with {name(b)}", res("HTTP/1.1 200 OK", f"X: a{chr(b)}b"), 200, f"X: a{chr(b)}b") for b in (9, 0x80, 0xff)
] + [
    wrong("9112 6.3", "a length and a coding", res("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")),
    wrong("9112 6.3", "two lengths that differ", res("HTTP/1.1 200 OK", "Content-Length: 3")),
    wrong("9112 6.3", "two lengths that agree", res("HTTP/1.1 200 OK", "Content-Length: 2")),
] + [
    wrong("9110 8.6", f"length {value!r}", res("HTTP/1.1 200 OK", f"Content-Length: {value}", length=False))
    for value in ("+2", "-2", "2,2", "", "0x2", "2 2", "two", "99999999999999999999")
] + [
    wrong("9112 6.1", f"coding {value!r}", res("HTTP/1.1 200 OK", f"Transfer-Encoding: {value}", body=b"0\r\n\r\n", length=False))
    for value in ("gzip", "gzip, chunked", "chunked, chunked", "identity", "", "xchunked")
] + [
    wrong("9112 6.1", "a coding in HTTP/1.0", res("HTTP/1.0 200 OK", "Transfer-Encoding: chunked", body=b"0\r\n\r\n", length=False)),
    shown("9112 7.1", "chunked", res("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n", length=False), 200, b"hello"),
    shown("9112 7.1.1", "extensions go", res("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"5;a=b\r\nhello\r\n0;c\r\n\r\n", length=False), 200, b"hello"),
] + [
    shown("9112 7.1.1", f"an extension {ext!r} goes", res("HTTP/1.1 200 OK", CHUNKED, body=b"5" + ext + b"\r\nhello\r\n0\r\n\r\n", length=False), 200, b"hello")
    for ext in EXTENSIONS + PADDING
] + [
    shown("9112 7.1.1", f"an extension {ext!r} behind a good chunk", res("HTTP/1.1 200 OK", CHUNKED, body=b"4\r\ngood\r\n5" + ext + b"\r\nhello\r\n0\r\n\r\n", length=False),
          200, end="cut", step=False)
    for ext in NO_EXTENSIONS
] + [
    shown("9112 7.1", f"a size line {line!r} behind a good chunk", res("HTTP/1.1 200 OK", CHUNKED, body=b"4\r\ngood\r\n" + line + b"\r\nhello\r\n0\r\n\r\n", length=False),
          200, end="cut", step=False)
    for line in NO_SIZES
] + [
    shown("9112 7.1.2", "trailers", res("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\nX-T: v\r\n\r\n", length=False), 200, b"hello"),
    shown("9112 6.3", "a body until the connection ends", res("HTTP/1.1 200 OK", body=b"all of it", length=False), 200, b"all of it"),
    shown("9112 6.3", "one of HTTP/1.0", res("HTTP/1.0 200 OK", body=b"all of it", length=False), 200, b"all of it"),
    shown("9112 8", "fewer bytes than the length", res("HTTP/1.1 200 OK", "Content-Length: 9", body=b"half", length=False), 200, end="cut", step=False),
    shown("9112 8", "no last chunk", res("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"4\r\nhalf\r\n", length=False), 200, end="cut", step=False),
    shown("9112 8", "half a chunk", res("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"9\r\nhalf", length=False), 200, end="cut", step=False),
    shown("9112 7.1", "a bad chunk size behind a good chunk", res("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"4\r\ngood\r\nzz\r\n", length=False), 200, end="cut", step=False),
    shown("9112 7.1", "no CRLF behind a chunk", res("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"4\r\ngood0\r\n\r\n", length=False), 200, end="cut", step=False),
    shown("9112 9.2", "bytes behind the message are nobody's", res() + b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 200, b"ok"),
    wrong("9112 8", "half a head", b"HTTP/1.1 200 OK\r\nContent-Le"),
    wrong("9112 8", "nothing", b""),
    shown("9110 15.2", "100 before the answer", b"HTTP/1.1 100 Continue\r\n\r\n" + res(), 200, b"ok"),
    shown("9110 15.2", "102 before the answer", b"HTTP/1.1 102 Processing\r\n\r\n" + res(), 200, b"ok"),
    shown("8297 2", "103 before the answer", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + res(), 200, b"ok"),
    shown("9110 15.2", "several before the answer", b"HTTP/1.1 103 E\r\n\r\n" * 5 + res(), 200, b"ok"),
] + [
    shown("9110 15.2", f"{count} times {code} before the answer", b"HTTP/1.1 %d X\r\n\r\n" % code * count + res(), 200, b"ok")
    for code in (100, 102, 103, 199) for count in (17, 1000)
] + [
    wrong("9110 15.2", "interim answers without end", b"HTTP/1.1 102 X\r\n\r\n" * 20_000 + res()),
    wrong("9110 15.2", "large ones without end", (b"HTTP/1.1 103 X\r\nLink: " + b"a" * 30_000 + b"\r\n\r\n") * 40 + res()),
    wrong("9110 15.2.2", "101 that nobody asked for", b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    wrong("9112 6.3", "100 and then the end", b"HTTP/1.1 100 Continue\r\n\r\n"),
    shown("9110 7.6.1", "a nominated field goes", res("HTTP/1.1 200 OK", "Connection: X-A", "X-A: 1", "X-B: 2"), 200, "-x-a", "X-B: 2"),
    shown("9110 7.6.1", "Keep-Alive goes", res("HTTP/1.1 200 OK", "Keep-Alive: timeout=5"), 200, "-keep-alive"),
    shown("9110 7.6.1", "Proxy-Connection goes", res("HTTP/1.1 200 OK", "Proxy-Connection: close"), 200, "-proxy-connection"),
    shown("9112 9.6", "an origin's close is not the client's", res("HTTP/1.1 200 OK", "Connection: close"), 200, b"ok"),
    shown("9110 7.8", "an upgrade that is offered goes", res("HTTP/1.1 200 OK", "Upgrade: h2c", "Connection: Upgrade"), 200, "-upgrade"),
    shown("9110 5.3", "lines of one name keep their order", res("HTTP/1.1 200 OK", "Set-Cookie: a=1", "Set-Cookie: b=2"), 200, "Set-Cookie: a=1\r\nSet-Cookie: b=2"),
    shown("9110 6.6.1", "Date goes on as it came", res("HTTP/1.1 200 OK", "Date: Sun, 06 Nov 1994 08:49:37 GMT"), 200, "Date: Sun, 06 Nov 1994 08:49:37 GMT"),
    shown("9110 10.2.4", "Server goes on as it came", res("HTTP/1.1 200 OK", "Server: x/1"), 200, "Server: x/1"),
    shown("9112 5", "white space around a value goes", res("HTTP/1.1 200 OK", "X: \t v \t"), 200, "X: v\r\n"),
    shown("9110 8.6", "an empty body", res(body=b""), 200, b""),
    shown("9110 8.6", "a large body", res(body=b"x" * 300_000), 200, b"x" * 300_000),
]
