"""Who may do what.

https://cloud.google.com/storage/docs/access-control/iam-permissions
https://cloud.google.com/storage/docs/access-control/iam-json
"""

from .errors import ApiError, bad_request

PERMISSIONS = tuple(
    f"storage.objects.{action}" for action in ("create", "get", "list", "update", "delete")
)

ANONYMOUS = "Anonymous caller"


class Access:
    """The permissions that the accounts have; those without an account have all."""

    def __init__(self, accounts, permissions, public):
        self._accounts = accounts
        self._permissions = frozenset(permissions)
        self.public = public

    def caller(self, request):
        """Who calls the JSON API. It is allowed to nobody else once an account is known."""
        if not self._accounts:
            return ANONYMOUS
        header = request.get_header("Authorization")
        return self._accounts.authenticate(header, request.method == "PATCH")

    def has(self, caller, permission):
        return caller == ANONYMOUS or permission in self._permissions

    def require(self, caller, *actions):
        """Refuses who lacks one of these permissions."""
        for action in actions:
            permission = f"storage.objects.{action}"
            if not self.has(caller, permission):
                raise denied(caller, permission)

    def require_write(self, caller, resource):
        """Writing an object needs another permission if there is one already."""
        self.require(caller, "create", *(["delete"] if resource is not None else []))


def denied(caller, permission):
    details = (
        f"{caller} does not have {permission} access to the Google Cloud Storage object. "
        f"Permission '{permission}' denied on resource (or it may not exist)."
    )
    return ApiError(403, details, details=details)


def test_permissions(request, response, service):
    """https://cloud.google.com/storage/docs/json_api/v1/buckets/testIamPermissions"""
    service.storage.require_bucket(request.params["bucket_name"])
    asked = request.query.get("permissions", [])
    if not asked:
        raise bad_request("Required parameter: permissions")
    held = [one for one in asked if service.access.has(request.caller, one)]
    answer = {"kind": "storage#testIamPermissionsResponse"}
    if held:
        answer["permissions"] = held
    response.json(answer)
