"""The bodies of requests, in pieces.

The service takes them with a length and in chunks (Transfer-Encoding), and stores nothing of
one that breaks off: https://cloud.google.com/storage/docs/streaming-uploads
"""

from .errors import BrokenBody, bad_request

# Pieces are of about this many bytes, but for the last.
PIECE = 1 << 20

# Read at once.
_READ = 256 << 10

# Lines between chunks are no longer than this.
_LINE = 8192


def _of_length(stream, length):
    while length:
        try:
            # Not read(), which loses what it has when the connection breaks off.
            piece = stream.read1(min(length, _READ))
        except OSError:
            piece = b""
        if not piece:
            raise BrokenBody
        length -= len(piece)
        yield piece


def _line(stream):
    try:
        line = stream.readline(_LINE)
    except OSError:
        line = b""
    if not line.endswith(b"\n"):
        raise BrokenBody
    return line.strip()


def _of_chunks(stream):
    while True:
        try:
            length = int(_line(stream).split(b";")[0], 16)
        except ValueError:
            raise BrokenBody from None
        if length == 0:
            break
        yield from _of_length(stream, length)
        _line(stream)
    while _line(stream):
        pass


def _gathered(pieces):
    """Larger pieces, that there are not too many."""
    parts, length = [], 0
    try:
        for piece in pieces:
            parts.append(piece)
            length += len(piece)
            if length >= PIECE:
                yield b"".join(parts)
                parts, length = [], 0
    except BrokenBody:
        if parts:
            yield b"".join(parts)
        raise
    if parts:
        yield b"".join(parts)


def pieces(headers, stream):
    """The pieces of a body as they come. At its premature end, BrokenBody is raised after
    the last piece."""
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return _gathered(_of_chunks(stream))
    text = headers.get("Content-Length") or "0"
    if not text.isdecimal():
        raise bad_request(f"Invalid Content-Length: {text}")
    return _gathered(_of_length(stream, int(text)))
