"""What is done with objects as a whole, in the JSON API.

https://cloud.google.com/storage/docs/json_api/v1/objects
"""

from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode

from . import resources
from .content import Content, crc32c_joined, crc32c_text
from .errors import bad_request, no_such_object
from .preconditions import Preconditions, number
from .uploads import check_name

_MOST_SOURCES = 32
_LARGEST_PAGE = 1000


def patch(request, response, service):
    """https://cloud.google.com/storage/docs/json_api/v1/objects/patch"""
    storage, changes = service.storage, request.json_object()
    bucket, name = request.params["bucket_name"], request.params["object_id"]
    with storage.lock:
        storage.require_bucket(bucket)
        service.access.require(request.caller, "update")
        resource = storage.require(bucket, name, request.parameter("generation"))
        Preconditions.of_query(request.parameters).check(resource)
        resource = resources.patched(storage, resource, changes)
        storage.patch_object(bucket, name, resource)
    response.json(resource)


def delete(request, response, service):
    """https://cloud.google.com/storage/docs/json_api/v1/objects/delete"""
    storage = service.storage
    bucket, name = request.params["bucket_name"], request.params["object_id"]
    with storage.lock:
        storage.require_bucket(bucket)
        service.access.require(request.caller, "delete")
        resource = storage.require(bucket, name, request.parameter("generation"))
        Preconditions.of_query(request.parameters).check(resource)
        storage.delete_file(bucket, name)
    response.status = 204


def _copied(request, service):
    """Copies an object with its checksums, and its metadata unless the body has other."""
    storage, metadata = service.storage, request.json_object()
    source = request.params["bucket_name"], request.params["object_id"]
    bucket, name = request.params["dest_bucket_name"], request.params["dest_object_id"]
    changes = resources.writable(metadata)
    with storage.lock:
        storage.require_bucket(source[0])
        service.access.require(request.caller, "get")
        original = storage.require(*source, request.parameter("sourceGeneration"))
        Preconditions.of_query(request.parameters, "ifSource").check(original)
        present = storage.find(bucket, check_name(name))
        service.access.require(request.caller, "create")
        Preconditions.of_query(request.parameters).check(present)
        service.access.require_write(request.caller, present)
        kept = ("md5Hash", "crc32c", "componentCount")
        computed = {field: original[field] for field in kept if field in original}
        fields = changes if metadata else resources.writable(original)
        fields["contentType"] = fields.get("contentType") or original["contentType"]
        content = storage.content(original)
        resource = resources.create(
            request.base_url, storage, bucket, name, fields, computed, content.size
        )
        storage.put(resource, content)
    return resource


def rewrite(request, response, service):
    """https://cloud.google.com/storage/docs/json_api/v1/objects/rewrite"""
    resource = _copied(request, service)
    response.json(
        {
            "kind": "storage#rewriteResponse",
            "totalBytesRewritten": resource["size"],
            "objectSize": resource["size"],
            "done": True,
            "resource": resource,
        }
    )


def copy(request, response, service):
    """https://cloud.google.com/storage/docs/json_api/v1/objects/copy"""
    response.json(_copied(request, service))


def _sources(request, storage, body):
    """The resources of what is to be composed."""
    listed = body.get("sourceObjects")
    if not isinstance(listed, list) or not listed:
        raise bad_request("You must provide at least one source component.")
    if len(listed) > _MOST_SOURCES:
        raise bad_request(
            f"The number of source components provided ({len(listed)}) exceeds the maximum "
            f"({_MOST_SOURCES})"
        )
    for one in listed:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise bad_request("A source has no name.")
        generation = one.get("generation")
        if generation is not None:
            generation = str(number(generation, "generation"))
        bucket = request.params["bucket_name"]
        resource = storage.find(bucket, one["name"])
        if resource is None or generation not in (None, resource["generation"]):
            raise no_such_object(bucket, one["name"])
        Preconditions.of_query(one.get("objectPreconditions") or {}).check(resource)
        yield resource


def _joined_crc32c(sources):
    joined = 0
    for source in sources:
        crc = int.from_bytes(b64decode(source["crc32c"]), "big")
        joined = crc32c_joined(joined, crc, int(source["size"]))
    return crc32c_text(joined)


def compose(request, response, service):
    """https://cloud.google.com/storage/docs/composite-objects"""
    storage, body = service.storage, request.json_object()
    bucket, name = request.params["bucket_name"], request.params["object_id"]
    destination = body.get("destination") or {}
    fields = resources.writable(destination)
    with storage.lock:
        storage.require_bucket(bucket)
        service.access.require(request.caller, "create", "get")
        sources = list(_sources(request, storage, body))
        present = storage.find(bucket, check_name(name))
        Preconditions.of_query(request.parameters).check(present)
        service.access.require_write(request.caller, present)
        count = sum(source.get("componentCount", 1) for source in sources)
        computed = {"crc32c": _joined_crc32c(sources), "componentCount": count}
        resources.verify(destination, computed)
        content = Content.joined(storage.content(source) for source in sources)
        resource = resources.create(
            request.base_url, storage, bucket, name, fields, computed, content.size
        )
        storage.put(resource, content)
    response.json(resource)


def _page_start(token):
    try:
        return urlsafe_b64decode(token).decode() if token else None
    except ValueError:
        raise bad_request("Invalid pageToken.") from None


def ls(request, response, service):
    """https://cloud.google.com/storage/docs/json_api/v1/objects/list"""
    storage, parameter = service.storage, request.parameter
    bucket = request.params["bucket_name"]
    most = number(parameter("maxResults") or _LARGEST_PAGE, "maxResults")
    if most < 1:
        raise bad_request("Invalid value for maxResults.")
    most = min(most, _LARGEST_PAGE)
    after = _page_start(parameter("pageToken"))
    first, end = parameter("startOffset"), parameter("endOffset")
    with storage.lock:
        storage.require_bucket(bucket)
        service.access.require(request.caller, "list")
        objects, prefixes = storage.get_file_list(
            bucket, parameter("prefix"), parameter("delimiter")
        )
    entries = [(one["name"], one) for one in objects] + [(prefix, None) for prefix in prefixes]
    entries.sort(key=lambda entry: entry[0])
    entries = [
        (name, resource)
        for name, resource in entries
        if (after is None or name > after)
        and (not first or name >= first)
        and (not end or name < end)
    ]
    page = entries[:most]
    answer = {"kind": "storage#objects"}
    if len(entries) > most:
        answer["nextPageToken"] = urlsafe_b64encode(page[-1][0].encode()).decode()
    items = [resource for _, resource in page if resource is not None]
    folders = [name for name, resource in page if resource is None]
    answer.update({key: value for key, value in (("prefixes", folders), ("items", items)) if value})
    response.json(answer)
