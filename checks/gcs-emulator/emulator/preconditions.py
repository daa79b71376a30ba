"""Conditions under which a request is done.

https://cloud.google.com/storage/docs/request-preconditions

A generation of 0 is that of an object that doesn't exist. A read whose "not match" doesn't
hold is answered 304, as there is nothing new to tell; everything else 412.
"""

from .errors import bad_request, condition_not_met

_NAMES = (
    ("GenerationMatch", "generation", True),
    ("GenerationNotMatch", "generation", False),
    ("MetagenerationMatch", "metageneration", True),
    ("MetagenerationNotMatch", "metageneration", False),
)


def number(text, name):
    """A number in a query or a body."""
    try:
        return int(text)
    except (TypeError, ValueError):
        raise bad_request(f"Invalid value for {name}: {text}") from None


class Preconditions:
    """Those of one request, about one object."""

    def __init__(self, conditions):
        self._conditions = conditions

    @classmethod
    def of_query(cls, query, prefix="if"):
        """From `ifGenerationMatch` and the like; `ifSource` for the source of a copy."""
        conditions = []
        for suffix, field, wanted in _NAMES:
            text = query.get(prefix + suffix)
            if text is not None:
                conditions.append((field, wanted, number(text, prefix + suffix)))
        return cls(conditions)

    def check(self, resource, reading=False):
        """Raises unless all hold for this object; None for one that doesn't exist."""
        for field, wanted, value in self._conditions:
            if resource is not None:
                present = int(resource[field])
            else:
                present = 0 if field == "generation" else None
            if (present == value) != wanted:
                raise condition_not_met(304 if reading and not wanted else 412)
