"""Reading the content of objects.

The JSON API: https://cloud.google.com/storage/docs/json_api/v1/objects/get
The XML API, which clients use by URLs, public or signed:
https://cloud.google.com/storage/docs/xml-api/get-object
Headers: https://cloud.google.com/storage/docs/xml-api/reference-headers
"""

import re
from base64 import b64decode
from urllib.parse import quote

from .access import ANONYMOUS, denied
from .clock import http_date, parse_rfc3339
from .errors import ApiError
from .preconditions import Preconditions
from .signatures import is_signed, signer


def byte_range(header, size):
    """The first byte and the one after the last; None for the whole.

    A header that makes no sense is as none (RFC 9110, 14.2), several ranges too.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").replace(" ", ""))
    if not match or not any(match.groups()):
        return None
    first, last = match.groups()
    if first:
        start, end = int(first), min(int(last) + 1 if last else size, size)
        if last and int(last) < start:
            return None
    else:
        start, end = max(size - int(last), 0), size
    if start >= size or start >= end:
        raise ApiError(
            416,
            "The requested range cannot be satisfied.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, end


def _hashes(resource):
    hashes = [f"crc32c={resource['crc32c']}"]
    if "md5Hash" in resource:
        hashes.append(f"md5={resource['md5Hash']}")
    return ",".join(hashes)


def _xml_etag(resource):
    if "md5Hash" in resource:
        return f'"{b64decode(resource["md5Hash"]).hex()}"'
    return f'"{resource["etag"]}"'


def _send(request, response, resource, content, etag):
    wanted = byte_range(request.get_header("Range"), content.size)
    start, end = wanted or (0, content.size)
    response["Content-Type"] = resource["contentType"]
    response["x-goog-generation"] = resource["generation"]
    response["x-goog-metageneration"] = resource["metageneration"]
    response["x-goog-stored-content-length"] = str(content.size)
    response["x-goog-stored-content-encoding"] = resource.get("contentEncoding", "identity")
    response["x-goog-storage-class"] = resource["storageClass"]
    response["ETag"] = etag
    response["Accept-Ranges"] = "bytes"
    response["Last-Modified"] = http_date(parse_rfc3339(resource["updated"]).timestamp())
    for field, header in (
        ("cacheControl", "Cache-Control"),
        ("contentDisposition", "Content-Disposition"),
        ("contentEncoding", "Content-Encoding"),
        ("contentLanguage", "Content-Language"),
    ):
        if field in resource:
            response[header] = resource[field]
    for name, value in resource.get("metadata", {}).items():
        response[f"x-goog-meta-{quote(name)}"] = value
    if wanted:
        response.status = 206
        response["Content-Range"] = f"bytes {start}-{end - 1}/{content.size}"
    else:
        response["x-goog-hash"] = _hashes(resource)
    response.send_content(content, start, end)


def _find(request, service):
    storage, generation = service.storage, request.parameter("generation")
    with storage.lock:
        resource = storage.require(
            request.params["bucket_name"], request.params["object_id"], generation
        )
        Preconditions.of_query(request.parameters).check(resource, reading=True)
        return resource, storage.content(resource)


def json_get(request, response, service):
    """Metadata, or with alt=media the content."""
    service.storage.require_bucket(request.params["bucket_name"])
    service.access.require(request.caller, "get")
    resource, content = _find(request, service)
    if request.parameter("alt") == "media":
        _send(request, response, resource, content, resource["etag"])
    else:
        response.json(resource)


def json_download(request, response, service):
    """The content, at the address that resources tell (mediaLink)."""
    request.parameters["alt"] = "media"
    json_get(request, response, service)


def _require_reader(request, service):
    """Who may use the URL of an object."""
    if is_signed(request):
        service.access.require(signer(request, service), "get")
    elif service.accounts and request.get_header("Authorization"):
        email = service.accounts.authenticate(request.get_header("Authorization"))
        service.access.require(email, "get")
    elif not service.access.public:
        refusal = denied(ANONYMOUS, "storage.objects.get")
        raise ApiError(403, "Access denied.", details=refusal.message)


def xml_get(request, response, service):
    """GET and HEAD of the URL of an object."""
    _require_reader(request, service)
    try:
        resource, content = _find(request, service)
    except ApiError as error:
        if error.status == 404 and error.code == "NoSuchKey":
            message = "The specified key does not exist."
            raise ApiError(404, message, details=error.message) from None
        raise
    _send(request, response, resource, content, _xml_etag(resource))
    for parameter, header in (
        ("response-content-type", "Content-Type"),
        ("response-content-disposition", "Content-Disposition"),
    ):
        if request.parameter(parameter):
            response[header] = request.parameter(parameter)
