"""Which function answers which request.

The package's table of paths is taken as it is; its functions for objects are replaced. What it
has for buckets (metadata, access control lists, policies) is used unchanged, under the lock.
Left out are batches, soft delete, and uploads by the XML API.
"""

import re

from gcp_storage_emulator import server
from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.handlers import objects as theirs

from . import access, control, metadata_server, objects, reads, uploads
from .errors import ApiError

_REPLACED = {
    theirs.ls: objects.ls,
    theirs.get: reads.json_get,
    theirs.download: reads.json_download,
    theirs.insert: uploads.insert,
    theirs.upload_partial: uploads.resume,
    theirs.patch: objects.patch,
    theirs.delete: objects.delete,
    theirs.rewrite: objects.rewrite,
    theirs.copy: objects.copy,
    theirs.compose: objects.compose,
    buckets.test_iam_permissions: access.test_permissions,
}
_LEFT_OUT = (theirs.batch, theirs.restore, theirs.xml_upload)

# A bucket and an object, the last path of the package's table.
_XML = r"/(?P<bucket_name>[-.\w]+)/(?P<object_id>.+)"


def _unchanged(function):
    """A function of the package, with our arguments."""

    def answer(request, response, service):
        bucket = request.params.get("bucket_name")
        # The body is read before the lock is taken.
        _ = request.data
        with service.storage.lock:
            if bucket is not None:
                service.storage.require_bucket(bucket)
            function(request, response, service.storage)

    return answer


def _api_routes():
    for regex, methods in server.HANDLERS:
        pattern = regex.removeprefix("^").removesuffix("$")
        if pattern in ("/", "/wipe") or pattern.startswith("/(?P<bucket_name>"):
            continue
        yield (
            pattern,
            {
                method: _REPLACED.get(function) or _unchanged(function)
                for method, function in methods.items()
                if function not in _LEFT_OUT
            },
        )


_METADATA = (r"/|/computeMetadata.*", {"GET": metadata_server.get})
_XML_ROUTE = (_XML, {"GET": reads.xml_get, "HEAD": reads.xml_get})


def _compiled(routes):
    return [(re.compile(pattern, re.DOTALL), methods) for pattern, methods in routes]


_OPEN = _compiled([*control.ROUTES, _METADATA])
_API = _compiled(_api_routes())
_OBJECTS = _compiled([_XML_ROUTE])


def _find(routes, request):
    for pattern, methods in routes:
        match = pattern.fullmatch(request.path)
        if match:
            function = methods.get(request.method)
            if function is None:
                message = f"The emulator has no {request.method} of {request.path}"
                raise ApiError(501, message, reason="notImplemented", code="NotImplemented")
            request.set_match(match)
            return function
    return None


def answer(request, response, service):
    """Has a request answered; raises ApiError if it is refused."""
    function = _find(_OPEN, request)
    if function is None:
        if re.match(r"/(storage/v1|upload|download|batch|b)(/|$)", request.path):
            # Who isn't known isn't told what there is.
            if not (request.parameter("upload_id") and request.path.startswith("/upload/")):
                request.caller = service.access.caller(request)
            function = _find(_API, request)
        else:
            request.is_xml = True
            function = _find(_OBJECTS, request)
    if function is None:
        raise ApiError(404, "Not Found", code="NoSuchBucket")
    function(request, response, service)
