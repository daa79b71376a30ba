"""Requests and responses: the package's, with bodies in pieces."""

import json
from http import HTTPStatus
from urllib.parse import parse_qs

from gcp_storage_emulator import server

from . import body, multipart

_REASONS = {308: "Resume Incomplete"}


def _printable(value):
    """A header's value, whatever clients have put into an object's metadata."""
    return str(value).encode().decode("latin-1").replace("\r", " ").replace("\n", " ")


class Request(server.Request):
    """A request. Its body is read when a function wants it."""

    def __init__(self, handler, method, address):
        super().__init__(handler, method)
        self.raw_path, _, self.raw_query = self._path.partition("?")
        self._query = parse_qs(self.raw_query, keep_blank_values=True)
        # The first of each.
        self.parameters = {name: values[0] for name, values in self._query.items()}
        # Clients may leave out the port in the Host header, as the Rust SDK does; the
        # address of a resumable upload must have it.
        host = handler.headers.get("Host", "")
        self._base_url = f"http://{host if ':' in host else address}"
        self._pieces = None
        self.is_xml = False
        self.caller = None

    @property
    def path(self):
        return self.raw_path

    @property
    def data(self):
        """What the package's functions for buckets take: a JSON object, or None."""
        if self._data is server._UNSET:
            self._data = self.json_object() or None
        return self._data

    def parameter(self, name, default=None):
        return self.parameters.get(name, default)

    def pieces(self):
        """The pieces of the body; once."""
        if self._pieces is None:
            self._pieces = body.pieces(self._request_handler.headers, self._request_handler.rfile)
        return self._pieces

    def json_object(self):
        return multipart.json_object(b"".join(self.pieces()))

    def drain(self):
        """Reads what nobody wanted, that the next request can be read."""
        for _ in self.pieces():
            pass


class Response(server.Response):
    """A response. It is sent after the function is through, outside of any lock."""

    def __init__(self, handler):
        super().__init__(handler)
        self._pieces = ()
        self._length = 0

    def send_bytes(self, content):
        self._pieces, self._length = (content,), len(content)

    def send_content(self, content, start, end):
        self._pieces, self._length = content.part(start, end), end - start

    def json(self, obj):
        self["Content-Type"] = "application/json; charset=UTF-8"
        self.send_bytes(json.dumps(obj).encode())

    def refuse(self, error, is_xml):
        """Makes it the response of an error."""
        self.status = error.status
        self._headers = {name: value for name, value in error.headers.items()}
        if error.status == 304:
            self._pieces, self._length = (), 0
        elif is_xml:
            self["Content-Type"] = "application/xml; charset=UTF-8"
            self.send_bytes(error.as_xml())
        else:
            self["Content-Type"] = "application/json; charset=UTF-8"
            self.send_bytes(error.as_json())

    def close(self):
        status = int(self.status)
        reason = _REASONS.get(status) or HTTPStatus(status).phrase
        self._handler.send_response(status, reason)
        for name, value in self._headers.items():
            self._handler.send_header(name, _printable(value))
        if status not in (204, 304):
            self._handler.send_header("Content-Length", str(self._length))
        self._handler.end_headers()
        if self._handler.command != "HEAD":
            for piece in self._pieces:
                self._handler.wfile.write(piece)
        self._handler.wfile.flush()
