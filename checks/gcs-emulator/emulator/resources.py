"""The resources of objects: what the JSON API tells about them.

https://cloud.google.com/storage/docs/json_api/v1/objects#resource

The package makes them; added are generations in order, the metageneration 1 of a new object,
metadata that can be taken away again, and the rules of customTime
(https://cloud.google.com/storage/docs/metadata#custom-time).
"""

import binascii
from base64 import b64decode, b64encode

from gcp_storage_emulator.handlers.objects import _make_object_resource

from .clock import parse_rfc3339, rfc3339
from .content import crc32c, crc32c_text, md5
from .errors import bad_request

DEFAULT_TYPE = "application/octet-stream"

_TEXTS = (
    "contentType",
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
)


def writable(metadata):
    """What of a client's metadata goes into a resource; None for what is to go away."""
    if not isinstance(metadata, dict):
        raise bad_request("Metadata must be a JSON object.")
    fields = {}
    for name in _TEXTS + ("customTime",):
        if name in metadata:
            value = metadata[name]
            if value is not None and not isinstance(value, str):
                raise bad_request(f"Invalid value for {name}.")
            fields[name] = value
    if "metadata" in metadata:
        custom = metadata["metadata"]
        if custom is not None and not isinstance(custom, dict):
            raise bad_request("Invalid value for metadata.")
        if any(not isinstance(value, (str, type(None))) for value in (custom or {}).values()):
            raise bad_request("Values of metadata must be texts.")
        fields["metadata"] = custom
    if fields.get("customTime") is not None:
        _moment(fields["customTime"])
    return fields


def _moment(text):
    try:
        return parse_rfc3339(text)
    except ValueError:
        raise bad_request(f"Invalid value for customTime: {text}") from None


def _merge(resource, fields):
    for name, value in fields.items():
        if name == "metadata" and value is not None:
            merged = {**resource.get("metadata", {}), **value}
            value = {key: text for key, text in merged.items() if text is not None} or None
        if value is None:
            resource.pop(name, None)
        else:
            resource[name] = value


def _with_etag(resource):
    version = f"{resource['generation']}/{resource['metageneration']}"
    resource["etag"] = b64encode(version.encode()).decode()
    return resource


def checksums(content):
    """Of content that came in one piece."""
    return {"md5Hash": md5(content), "crc32c": crc32c_text(crc32c(content))}


def verify(claimed, computed):
    """Refuses content that isn't what the client said it would be.

    https://cloud.google.com/storage/docs/data-validation
    """
    for name, shown in (("md5Hash", "MD5 hash"), ("crc32c", "CRC32C")):
        value = claimed.get(name)
        if value is None or name not in computed:
            continue
        try:
            same = b64decode(value, validate=True) == b64decode(computed[name])
        except (TypeError, binascii.Error):
            same = False
        if not same:
            raise bad_request(
                f'Provided {shown} "{value}" doesn\'t match calculated {shown} "{computed[name]}".'
            )


def create(base_url, storage, bucket, name, fields, computed, size):
    """A new resource; call it under the storage's lock, for generations to be in order."""
    moment = storage.tick()
    content_type = fields.get("contentType") or DEFAULT_TYPE
    resource = _make_object_resource(base_url, bucket, name, content_type, str(size))
    generation, time = str(moment), rfc3339(moment)
    media = resource["mediaLink"].replace(resource["generation"], generation)
    resource.update(
        id=f"{bucket}/{name}/{generation}",
        generation=generation,
        mediaLink=media,
        timeCreated=time,
        updated=time,
        timeStorageClassUpdated=time,
        timeFinalized=time,
    )
    for absent in ("md5Hash", "crc32c", "etag", "acl"):
        del resource[absent]
    resource.update(computed)
    _merge(resource, {key: value for key, value in fields.items() if value is not None})
    return _with_etag(resource)


def patched(storage, resource, metadata):
    """The resource with a client's changes."""
    fields = writable(metadata)
    if "customTime" in fields and "customTime" in resource:
        new, old = fields["customTime"], resource["customTime"]
        if new is None:
            raise bad_request("Custom time cannot be removed once it is set.")
        if _moment(new) < _moment(old):
            raise bad_request("Custom time cannot be set to an earlier time.")
    new = dict(resource)
    _merge(new, fields)
    new["metageneration"] = str(int(resource["metageneration"]) + 1)
    new["updated"] = rfc3339(storage.tick())
    return _with_etag(new)
