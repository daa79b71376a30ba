"""What only tests ask for: paths below /_/, which no bucket has.

It isn't in the real service: what was asked, bytes that change in store, and time that goes by.
"""

from collections import deque

from .errors import ApiError, bad_request

# So many requests are remembered.
_MOST = 20000


class Journal:
    """The latest requests that were answered."""

    def __init__(self):
        self._entries = deque(maxlen=_MOST)

    def add(self, method, path, status):
        if not path.startswith("/_/"):
            self._entries.append((method, path, status))

    def entries(self):
        return list(self._entries.copy())


def _requests(_request, response, service):
    response.json(service.journal.entries())


def _damage(request, response, service):
    name = request.parameter("name")
    if not name:
        raise bad_request("Required parameter: name")
    with service.storage.lock:
        if not service.storage.damage(name):
            raise ApiError(404, f"There is no object {name} that has bytes.")
    response.json({})


def _age(request, response, service):
    try:
        seconds = int(request.parameter("seconds"))
    except (TypeError, ValueError):
        raise bad_request("Required parameter: seconds") from None
    with service.storage.lock:
        service.storage.age(seconds)
    response.json({})


def _health(_request, response, _service):
    response.json({"healthy": True})


ROUTES = (
    (r"/_/requests", {"GET": _requests}),
    (r"/_/damage", {"POST": _damage}),
    (r"/_/age", {"POST": _age}),
    (r"/_/health", {"GET": _health}),
)
