"""Google Cloud Storage, for tests: the PyPI package gcp-storage-emulator, made to behave
like the real service where it doesn't.

The package gives the routes, the resources of buckets and objects, and the storage. Replaced
is all that touches objects, because the package knows no preconditions, no credentials and
no checksums of uploads that break off, and serves one request at a time.
"""
