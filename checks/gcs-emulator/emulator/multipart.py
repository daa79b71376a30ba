"""Uploads of metadata and content in one body (multipart/related).

https://cloud.google.com/storage/docs/uploading-objects#upload-object-multipart-json

Parts are found by the bytes of their boundary: content is binary, and parsers of mail change
it. A third part, if any, has checksums that the client knew only after it had sent the content.
"""

import json
from email.message import Message

from .errors import bad_request


def _boundary(content_type):
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_param("boundary")
    if message.get_content_maintype() != "multipart" or not isinstance(boundary, str):
        raise bad_request("Content-Type must be multipart/related with a boundary.")
    return b"--" + boundary.encode()


def _next(body, boundary, position):
    """Where the next line with the boundary begins, where it ends, and whether it is the
    last. The line break before it is not part of what precedes it."""
    while True:
        found = body.find(boundary, position)
        if found < 0:
            raise bad_request("The multipart body has no end.")
        after = found + len(boundary)
        if found == 0 or body[found - 2 : found] == b"\r\n":
            if body[after : after + 2] == b"--":
                return found, after, True
            line = body.find(b"\r\n", after)
            if line >= 0 and not body[after:line].strip(b" \t"):
                return found, line + 2, False
        # Content that happens to have these bytes.
        position = after


def _headers(block):
    headers = {}
    for line in block.split(b"\r\n"):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def split(content_type, body):
    """The parts of a body, as pairs of headers and bytes."""
    boundary = _boundary(content_type)
    _, position, last = _next(body, boundary, 0)
    parts = []
    while not last:
        start = position
        # The break before the boundary may be the one that ends empty headers.
        found, position, last = _next(body, boundary, start)
        if body[start : start + 2] == b"\r\n":
            parts.append(({}, body[start + 2 : max(found - 2, start + 2)]))
            continue
        end = body.find(b"\r\n\r\n", start, found)
        if end < 0:
            raise bad_request("A part of the multipart body has no end of its headers.")
        content = body[end + 4 : max(found - 2, end + 4)]
        parts.append((_headers(body[start:end]), content))
    return parts


def json_object(data):
    """A JSON object in a body or a part of one; nothing is an empty one."""
    if not data.strip():
        return {}
    try:
        value = json.loads(data)
    except ValueError:
        raise bad_request("Parse Error") from None
    if not isinstance(value, dict):
        raise bad_request("Expected a JSON object.")
    return value


def parse(content_type, body):
    """The metadata, the content's type (or None), the content, and trailing checksums."""
    parts = split(content_type, body)
    if len(parts) not in (2, 3):
        raise bad_request(f"Expected metadata and content, got {len(parts)} parts.")
    metadata = json_object(parts[0][1])
    media_headers, media = parts[1]
    trailing = json_object(parts[2][1]) if len(parts) == 3 else {}
    return metadata, media_headers.get("content-type"), media, trailing
