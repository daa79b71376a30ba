"""As much of HTTP/2 (RFC 9113) as a client needs that asks and doesn't take the answer.

Written out, as libraries take more of the answer on their own, and would have to be installed.
"""

import struct

DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
ACK = END_STREAM = 1
END_HEADERS = 4


class Connection:
    """Of one client, for one request at a time."""

    def __init__(self, stream, host):
        self.stream, self.host, self.buffer = stream, host, b""
        stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b""))

    def get(self, path):
        headers = {":method": "GET", ":scheme": "http", ":path": path, ":authority": self.host}
        # Each a literal that isn't indexed, with a name that isn't either (RFC 7541, 6.2.2).
        fields = [b"\0" + literal(name) + literal(value) for name, value in headers.items()]
        self.stream.sendall(frame(HEADERS, END_STREAM | END_HEADERS, 1, b"".join(fields)))

    def answers(self):
        """What becomes of it, until the server ends the connection; answers its pings."""
        length = 0
        while True:
            while len(self.buffer) < 9 or len(self.buffer) < 9 + size(self.buffer):
                part = self.stream.recv(64 * 1024)
                if not part:
                    return
                self.buffer += part
            content = self.buffer[9 : 9 + size(self.buffer)]
            kind, flags = self.buffer[3:5]
            self.buffer = self.buffer[9 + len(content) :]
            if kind == SETTINGS and not flags & ACK:
                self.stream.sendall(frame(SETTINGS, ACK, 0, b""))
            elif kind == PING and not flags & ACK:
                self.stream.sendall(frame(PING, ACK, 0, content))
            elif kind == DATA:
                length += len(content)
                yield f"{length} bytes, the last of them" if flags & END_STREAM else length


def frame(kind, flags, stream, content):
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def literal(text):
    """A string of up to 126 bytes, without Huffman's code (RFC 7541, 5.2)."""
    assert len(text) < 127
    return bytes([len(text)]) + text.encode()


def size(buffer):
    return int.from_bytes(buffer[:3], "big")
