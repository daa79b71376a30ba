"""Uploads in one request.

https://cloud.google.com/storage/docs/json_api/v1/objects/insert
https://cloud.google.com/storage/docs/uploads-downloads

Nothing is stored of a body that breaks off, or that has other checksums than the client said.
"""

from . import multipart, resources
from .content import Content
from .errors import ApiError, bad_request
from .preconditions import Preconditions


def check_name(name):
    """https://cloud.google.com/storage/docs/objects#naming"""
    if not name:
        raise ApiError(400, "Required", reason="required")
    if len(name.encode()) > 1024 or "\r" in name or "\n" in name:
        raise bad_request("The object name is not valid.")
    return name


def claimed_in_header(request):
    """Checksums in x-goog-hash."""
    claimed = {}
    for one in (request.get_header("x-goog-hash") or "").split(","):
        name, _, value = one.strip().partition("=")
        if name in ("crc32c", "md5"):
            claimed["md5Hash" if name == "md5" else name] = value
    return claimed


def store(service, caller, base_url, upload, content, *claims):
    """Makes an object of content that has come; gives its resource.

    `upload` is a triple of bucket, name and fields, with the preconditions as a fourth.
    """
    bucket, name, fields, preconditions = upload
    storage = service.storage
    computed = resources.checksums(content)
    for claimed in claims:
        resources.verify(claimed, computed)
    with storage.lock:
        present = storage.find(bucket, name)
        service.access.require(caller, "create")
        preconditions.check(present)
        service.access.require_write(caller, present)
        resource = resources.create(base_url, storage, bucket, name, fields, computed, content.size)
        storage.put(resource, content)
    return resource


def _media(request, service):
    content = Content(request.pieces())
    fields = {"contentType": request.get_header("Content-Type")}
    return _store(request, service, request.parameter("name"), fields, content)


def _multipart(request, service):
    body = b"".join(request.pieces())
    content_type = request.get_header("Content-Type", "")
    metadata, media_type, media, trailing = multipart.parse(content_type, body)
    fields = resources.writable(metadata)
    fields["contentType"] = fields.get("contentType") or media_type
    name = request.parameter("name") or metadata.get("name")
    return _store(request, service, name, fields, Content([media]), metadata, trailing)


def _store(request, service, name, fields, content, *claims):
    encoding = request.parameter("contentEncoding")
    if encoding:
        fields["contentEncoding"] = encoding
    preconditions = Preconditions.of_query(request.parameters)
    upload = (request.params["bucket_name"], check_name(name), fields, preconditions)
    claims = (*claims, claimed_in_header(request))
    return store(service, request.caller, request.base_url, upload, content, *claims)


def insert(request, response, service):
    """POST of an object, in one of three ways."""
    kind = request.parameter("uploadType")
    if request.parameter("upload_id"):
        service.sessions.put(request, response, service)
    elif kind == "media":
        response.json(_media(request, service))
    elif kind == "multipart":
        response.json(_multipart(request, service))
    elif kind == "resumable":
        service.sessions.start(request, response, service)
    else:
        raise bad_request(f"Invalid value for uploadType: {kind}")


def resume(request, response, service):
    """PUT of a part of an object."""
    service.sessions.put(request, response, service)
