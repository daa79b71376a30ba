"""The package's storage, in memory, with content in pieces.

Other than the package's:
- Names are kept as they are. The package takes `a//b` and `a/b` for one, and refuses `..`;
  to the service, names are just texts (https://cloud.google.com/storage/docs/objects#naming).
- No file with all metadata is written at each change.
- Generations rise with every write:
  https://cloud.google.com/storage/docs/metadata#generation-number
- What is deleted is gone at once, as in a bucket without soft delete:
  https://cloud.google.com/storage/docs/soft-delete
"""

import threading

from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.storage import Storage

from .clock import parse_rfc3339, rfc3339
from .content import Content
from .errors import no_such_bucket, no_such_object


class _Contents:
    """The contents by their paths, instead of the package's files."""

    def __init__(self):
        self._contents = {}

    def write_bytes(self, path, content):
        self._contents[path] = content

    def read_bytes(self, path):
        try:
            return self._contents[path]
        except KeyError as error:
            raise FileNotFoundError(path) from error

    def remove_file(self, path):
        if self._contents.pop(path, None) is None:
            raise FileNotFoundError(path)

    def makedirs(self, path):
        pass

    def remove_tree(self, path):
        for name in [name for name in self._contents if name.startswith(f"{path}/")]:
            del self._contents[name]


class MemoryStorage(Storage):
    """Resources in it are never changed, only replaced: whoever got one under the lock may
    use it after."""

    def __init__(self, clock):
        super().__init__(use_memory_fs=True)
        self._store = _Contents()
        self._clock = clock
        self._latest = 0
        # Whoever looks and then acts holds it all the while.
        self.lock = threading.RLock()

    def _write_config_to_file(self):
        pass

    def _object_path(self, bucket_name, file_name):
        return f"{bucket_name}/{file_name}"

    def add_bucket(self, name):
        bucket = buckets.create_bucket(name, self)
        bucket["softDeletePolicy"] = {"retentionDurationSeconds": "0"}

    def require_bucket(self, bucket):
        if bucket not in self.buckets:
            raise no_such_bucket()

    def tick(self):
        """A moment, in microseconds, later than any that was given before."""
        self._latest = max(self._clock.microseconds(), self._latest + 1)
        return self._latest

    def find(self, bucket, name):
        """The resource of an object, or None."""
        self.require_bucket(bucket)
        try:
            return self.get_file_obj(bucket, name)
        except NotFound:
            return None

    def require(self, bucket, name, generation=None):
        """The resource of an object; with a generation, of that one."""
        resource = self.find(bucket, name)
        if resource is None or generation not in (None, resource["generation"]):
            raise no_such_object(bucket, name)
        return resource

    def content(self, resource) -> Content:
        return self.get_file(resource["bucket"], resource["name"])

    def put(self, resource, content):
        self.create_file(resource["bucket"], resource["name"], content, resource)

    def damage(self, name):
        """Changes a byte of an object, and nothing that tells of it."""
        for bucket in self.buckets:
            resource = self.find(bucket, name)
            if resource is not None and int(resource["size"]):
                damaged = self.content(resource).damaged()
                self._store.write_bytes(self._object_path(bucket, name), damaged)
                return True
        return False

    def age(self, seconds):
        """Makes everything look as if it was written or changed so much earlier."""
        for bucket in self.buckets:
            for name, resource in self.objects.get(bucket, {}).items():
                moments = {}
                for field in ("timeCreated", "updated"):
                    moment = parse_rfc3339(resource[field]).timestamp() - seconds
                    moments[field] = rfc3339(int(moment * 1_000_000))
                self.objects[bucket][name] = {**resource, **moments}
