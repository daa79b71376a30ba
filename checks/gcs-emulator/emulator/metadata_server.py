"""The metadata server that machines at Google have.

https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys
https://cloud.google.com/compute/docs/access/authenticate-workloads

Programs get the tokens of the machine's account from it, which is the first one registered.
"""

from .errors import ApiError

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default/"


def is_metadata(path):
    """Whether a request is for it."""
    return path == "/" or path.startswith("/computeMetadata")


def _text(response, content):
    response["Content-Type"] = "application/text"
    response.send_bytes(content.encode())


def get(request, response, service):
    """Answers a GET."""
    response["Metadata-Flavor"] = "Google"
    flavor = {"Metadata-Flavor": "Google"}
    if request.get_header("Metadata-Flavor") != "Google":
        raise ApiError(403, "Missing Metadata-Flavor:Google header.", headers=flavor)
    path = request.path
    account = service.accounts.first()
    if path in ("/", "/computeMetadata/v1", "/computeMetadata/v1/"):
        _text(response, "instance/\nproject/\nuniverse/\n")
    elif path in (
        "/computeMetadata/v1/universe/universe-domain",
        "/computeMetadata/v1/universe/universe_domain",
    ):
        _text(response, "googleapis.com")
    elif path == "/computeMetadata/v1/project/project-id":
        _text(response, "test-project")
    elif account is not None and path == _ACCOUNT + "token":
        token, lifetime = service.accounts.issue_token(account)
        response.json({"access_token": token, "expires_in": int(lifetime), "token_type": "Bearer"})
    elif account is not None and path == _ACCOUNT + "email":
        _text(response, account.email)
    elif account is not None and path == _ACCOUNT + "scopes":
        _text(response, _SCOPE + "\n")
    elif account is not None and path == _ACCOUNT:
        if request.parameter("recursive", "").lower() == "true":
            described = {"aliases": ["default"], "email": account.email, "scopes": [_SCOPE]}
            response.json(described)
        else:
            _text(response, "aliases\nemail\nidentity\nscopes\ntoken\n")
    else:
        raise ApiError(404, f"{path} is not known here.", headers=flavor)
