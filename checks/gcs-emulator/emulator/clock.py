"""What time it is for the service.

Its clock may be other than the machine's: signatures and tokens are refused then
(https://cloud.google.com/storage/docs/access-control/signed-urls), and clients see it in the
Date header.
"""

import time
from datetime import datetime, timezone
from email.utils import formatdate


class Clock:
    """A clock that is some seconds ahead of the machine's."""

    def __init__(self, offset=0.0):
        self.offset = offset

    def now(self):
        """Seconds since 1970."""
        return time.time() + self.offset

    def microseconds(self):
        """Microseconds since 1970, which generations are."""
        return int(self.now() * 1_000_000)


def http_date(seconds):
    """As in HTTP's headers."""
    return formatdate(seconds, usegmt=True)


def rfc3339(microseconds):
    """As in the JSON API's resources."""
    moment = datetime.fromtimestamp(microseconds / 1_000_000, timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text):
    """The moment that such a text names; ValueError if it names none."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment
