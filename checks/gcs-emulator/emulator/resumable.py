"""Uploads that go on where they broke off.

https://cloud.google.com/storage/docs/performing-resumable-uploads

Other than in the package: what is stored of an unfinished upload is a multiple of 256 KiB, of
a request that breaks off too; the answer tells no range when nothing is stored; checksums and
preconditions are checked at the end. Who knows the address of an upload needs no credentials.
"""

import re
import secrets
import threading
from urllib.parse import urlencode

from . import multipart, resources
from .content import Content
from .errors import ApiError, BrokenBody, bad_request
from .preconditions import Preconditions
from .uploads import check_name, claimed_in_header, store

_QUANTUM = 256 << 10

_RANGE = re.compile(r"bytes (?:(?P<start>\d+)-(?P<end>\d+|\*)|\*)/(?P<total>\d+|\*)")


def _copied(content, start, end):
    """Bytes, as checksums are of these only; whole pieces are not copied."""
    return map(bytes, content.part(start, end))


def _number(text):
    return None if text in (None, "*") else int(text)


class _Session:
    """One upload."""

    def __init__(self, caller, upload, claimed, expected):
        self.caller = caller
        self.upload = upload
        self.claimed = claimed
        self.expected = expected
        self.content = Content()
        self.result = None
        self.lock = threading.Lock()

    def add(self, start, pieces, whole):
        """Takes what came of a request, that may repeat what is there already."""
        new = Content(pieces)
        if start > self.content.size:
            raise ApiError(503, f"Bytes are missing before {start}.")
        skipped = self.content.size - start
        if skipped >= new.size:
            return
        joined = Content([*self.content.pieces, *_copied(new, skipped, new.size)])
        if not whole and joined.size % _QUANTUM:
            end = joined.size - joined.size % _QUANTUM
            if end <= self.content.size:
                return
            joined = Content(_copied(joined, 0, end))
        self.content = joined


class Sessions:
    """All uploads that were started."""

    def __init__(self):
        self._sessions = {}

    def start(self, request, response, service):
        """POST that tells the address to send the content to."""
        metadata = multipart.json_object(b"".join(request.pieces()))
        fields = resources.writable(metadata)
        told = request.get_header("X-Upload-Content-Type")
        fields["contentType"] = fields.get("contentType") or told
        name = check_name(request.parameter("name") or metadata.get("name"))
        bucket = request.params["bucket_name"]
        preconditions = Preconditions.of_query(request.parameters)
        with service.storage.lock:
            present = service.storage.find(bucket, name)
            service.access.require(request.caller, "create")
            preconditions.check(present)
        expected = request.get_header("X-Upload-Content-Length")
        upload = (bucket, name, fields, preconditions)
        identifier = secrets.token_urlsafe(32)
        session = _Session(request.caller, upload, metadata, _number(expected))
        self._sessions[identifier] = session
        query = urlencode({"uploadType": "resumable", "name": name, "upload_id": identifier})
        response["Location"] = f"{request.base_url}/upload/storage/v1/b/{bucket}/o?{query}"
        response["X-GUploader-UploadID"] = identifier

    def put(self, request, response, service):
        """PUT of a part, or a question how much has come."""
        identifier = request.parameter("upload_id")
        session = self._sessions.get(identifier)
        if session is None or session.upload[0] != request.params["bucket_name"]:
            raise ApiError(404, "The upload session is not known.")
        header = request.get_header("Content-Range")
        match = _RANGE.fullmatch((header or "bytes 0-*/*").strip())
        if match is None:
            raise bad_request(f"Invalid Content-Range: {header}")
        start, end, total = (_number(match[group]) for group in ("start", "end", "total"))
        # The body is read before anything is locked: others may ask meanwhile.
        pieces, broken = _received(request)
        with session.lock:
            if session.result is None:
                self._add(session, start, end, total, pieces, broken)
                if broken:
                    raise BrokenBody
                open_end = start is not None and end is None
                if open_end and total is None:
                    total = start + sum(map(len, pieces))
                if total is None or session.content.size < total:
                    return _incomplete(response, session)
                self._finish(identifier, session, total, request, service)
            elif broken:
                raise BrokenBody
            return response.json(session.result)

    @staticmethod
    def _add(session, start, end, total, pieces, broken):
        length = sum(map(len, pieces))
        if start is None:
            if length:
                raise bad_request("A question for the range has content.")
            return
        if end is not None and not broken and length != end + 1 - start:
            raise bad_request("Content-Range doesn't agree with the length of the content.")
        if total is not None and start + length > total:
            raise bad_request("There is more content than Content-Range tells.")
        last = start + length == total or (end is None and total is None)
        session.add(start, pieces, last and not broken)

    def _finish(self, identifier, session, total, request, service):
        content = session.content
        try:
            if content.size != total or session.expected not in (None, total):
                raise bad_request(f"{content.size} bytes came; another number was expected.")
            claims = (session.claimed, claimed_in_header(request))
            session.result = store(
                service, session.caller, request.base_url, session.upload, content, *claims
            )
        except ApiError:
            del self._sessions[identifier]
            raise
        # The object has it now.
        session.content = Content()


def _received(request):
    """The pieces of the body, and whether it broke off after them."""
    pieces = []
    try:
        for piece in request.pieces():
            pieces.append(piece)
    except BrokenBody:
        return pieces, True
    return pieces, False


def _incomplete(response, session):
    response.status = 308
    if session.content.size:
        response["Range"] = f"bytes=0-{session.content.size - 1}"
