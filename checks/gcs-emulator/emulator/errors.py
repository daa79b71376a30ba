"""Errors as the service tells them.

The JSON API: https://cloud.google.com/storage/docs/json_api/v1/status-codes
The XML API: https://cloud.google.com/storage/docs/xml-api/reference-status
"""

import json
from xml.sax.saxutils import escape

# The "reason" of a status of the JSON API, and the "Code" of the XML API.
_REASONS = {
    304: ("notModified", "NotModified"),
    400: ("invalid", "InvalidArgument"),
    401: ("authError", "AuthenticationRequired"),
    403: ("forbidden", "AccessDenied"),
    404: ("notFound", "NoSuchKey"),
    405: ("methodNotAllowed", "MethodNotAllowed"),
    412: ("conditionNotMet", "PreconditionFailed"),
    416: ("requestedRangeNotSatisfiable", "InvalidRange"),
}


class ApiError(Exception):
    """Why a request is refused."""

    def __init__(self, status, message, *, reason=None, code=None, details=None, headers=None):
        super().__init__(message)
        self.status = status
        self.message = message
        known = _REASONS.get(status, ("backendError", "InternalError"))
        self.reason = reason or known[0]
        self.code = code or known[1]
        self.details = details
        self.headers = headers or {}

    def as_json(self):
        """The body that the JSON API sends."""
        one = {"message": self.message, "domain": "global", "reason": self.reason}
        error = {"code": self.status, "message": self.message, "errors": [one]}
        return json.dumps({"error": error}).encode()

    def as_xml(self):
        """The body that the XML API sends."""
        details = f"<Details>{escape(self.details)}</Details>" if self.details else ""
        return (
            "<?xml version='1.0' encoding='UTF-8'?>"
            f"<Error><Code>{escape(self.code)}</Code>"
            f"<Message>{escape(self.message)}</Message>{details}</Error>"
        ).encode()


class BrokenBody(Exception):
    """The client went away before the whole body of its request had come."""


def bad_request(message):
    return ApiError(400, message)


def no_such_bucket():
    return ApiError(404, "The specified bucket does not exist.", code="NoSuchBucket")


def no_such_object(bucket, name):
    return ApiError(404, f"No such object: {bucket}/{name}")


def condition_not_met(status=412):
    message = "At least one of the pre-conditions you specified did not hold."
    return ApiError(status, message)
