"""HTTP/2 frame by frame, for peers that break the rules. Sends what it is told; reads until an outcome shows."""
import socket, struct, time
import hpack

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIO = 1, 1, 4, 8, 0x20
CODES = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
         "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM"]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", k, v) for k, v in pairs))


def window(stream, more):
    return frame(WINDOW, 0, stream, struct.pack(">I", more))


def reset(stream, code=8):
    return frame(RST, 0, stream, struct.pack(">I", code))


class Client:
    """One connection. `opening`: preface and settings are sent at once."""

    def __init__(self, port, opening=True, *pairs, connection=None):
        self.socket = connection or socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(10)
        if not connection:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.buffer = b""
        self.seen = []
        if opening:
            self.send(PREFACE + settings(*pairs))

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # The peer has had enough; what it said is still to be read.

    def block(self, *fields, method="GET", path="/", scheme="http", authority="a.test", extra=()):
        """A header block: the usual pseudo-fields and more, or exactly the fields given."""
        if not fields:
            fields = [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)]
        return self.encoder.encode(list(fields) + list(extra), huffman=False)

    def request(self, stream=1, end=True, **more):
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, self.block(**more)))

    def next(self):
        """The next frame as (kind, flags, stream, payload); None at the connection's end."""
        while True:
            if len(self.buffer) >= 9:
                length = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) >= 9 + length:
                    head, payload = self.buffer[:9], self.buffer[9:9 + length]
                    self.buffer = self.buffer[9 + length:]
                    found = (head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7fffffff, payload)
                    if found[0] in (HEADERS,):
                        found = found[:3] + (self.decoder.decode(payload, raw=False),)
                    self.seen.append(found)
                    return found
            try:
                piece = self.socket.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                return None
            if not piece:
                return None
            self.buffer += piece

    def outcome(self, stream=1):
        """What becomes of a stream: its status, 'rst CODE', 'goaway CODE' or 'closed'."""
        status = None
        while True:
            found = self.next()
            if found is None:
                return "closed"
            kind, flags, number, payload = found
            if kind == GOAWAY:
                return "goaway " + CODES[struct.unpack(">I", payload[4:8])[0]]
            if kind == RST and number == stream:
                return "rst " + CODES[struct.unpack(">I", payload)[0]]
            if kind == HEADERS and number == stream:
                status = status or dict(payload).get(":status")
            if kind in (HEADERS, DATA) and number == stream and flags & END_STREAM:
                return status

    def acknowledged(self):
        """Waits until the peer has read all that was sent: it answers a ping."""
        self.send(frame(PING, 0, 0, b"12345678"))
        while True:
            found = self.next()
            if found is None:
                return False
            if found[0] == PING and found[1] & ACK:
                return True

    def close(self):
        self.socket.close()
