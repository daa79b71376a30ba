"""Signed URLs (V4).

https://cloud.google.com/storage/docs/authentication/canonical-requests
https://cloud.google.com/storage/docs/authentication/signatures

Who signs for a host with a port may have signed the host without it, as the Rust SDK does.
"""

import hashlib
import re
from datetime import datetime, timezone
from urllib.parse import quote, unquote

from .errors import ApiError

_ALGORITHM = "GOOG4-RSA-SHA256"
_UNRESERVED = "-._~"

# Longest that a URL may be good for: seven days.
_LONGEST = 604800

# How far the signer's clock may be ahead.
_SKEW = 15 * 60


def _refused(message, details=None, code="SignatureDoesNotMatch"):
    return ApiError(403, message, code=code, details=details)


def _pairs(raw_query):
    for pair in raw_query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            yield unquote(name), unquote(value)


def _canonical_query(pairs):
    encoded = [(quote(name, _UNRESERVED), quote(value, _UNRESERVED)) for name, value in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def _canonical_value(text):
    return " ".join(text.split())


def _hosts(request, service):
    """What may have been signed as the host."""
    told = request.get_header("Host", "")
    name = re.sub(r":\d+$", "", told)
    return dict.fromkeys([told, name, f"{name}:{service.port}"])


def _canonical_requests(request, service, pairs, names):
    path = quote(unquote(request.raw_path), "/" + _UNRESERVED)
    query = _canonical_query(pairs)
    values = {name: _canonical_value(request.get_header(name, "")) for name in names}
    payload = values.get("x-goog-content-sha256") or "UNSIGNED-PAYLOAD"
    for host in _hosts(request, service):
        values["host"] = host
        headers = "".join(f"{name}:{values[name]}\n" for name in names)
        yield "\n".join([request.method, path, query, headers, ";".join(names), payload])


def _moment(text):
    try:
        moment = datetime.strptime(text, "%Y%m%dT%H%M%SZ")
        return moment.replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        raise _refused("Invalid argument.", f"X-Goog-Date is {text}") from None


def is_signed(request):
    """Whether a URL says that it is signed."""
    return any(name.startswith("X-Goog-") for name, _ in _pairs(request.raw_query))


def signer(request, service):
    """The email of the account that signed the URL; an error if it isn't good."""
    pairs = list(_pairs(request.raw_query))
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _refused("A parameter occurs twice.")
    try:
        credential, date = fields["X-Goog-Credential"], fields["X-Goog-Date"]
        expires, names = int(fields["X-Goog-Expires"]), fields["X-Goog-SignedHeaders"].split(";")
        signature = bytes.fromhex(fields["X-Goog-Signature"])
        algorithm = fields["X-Goog-Algorithm"]
    except (KeyError, ValueError) as error:
        raise _refused("Query parameters of the signature are not good.", str(error)) from None
    email, _, scope = credential.partition("/")
    good_scope = re.fullmatch(re.escape(date[:8]) + r"/[a-z0-9-]+/storage/goog4_request", scope)
    if algorithm != _ALGORITHM or not good_scope or not 0 < expires <= _LONGEST:
        raise _refused("Query parameters of the signature are not good.", credential)
    if "host" not in names or names != sorted(set(map(str.lower, names))):
        raise _refused("The signed headers are not good.", ";".join(names))

    unsigned = [pair for pair in pairs if pair[0] != "X-Goog-Signature"]
    if not _any_matches(request, service, email, scope, date, unsigned, names, signature):
        canonical = next(_canonical_requests(request, service, unsigned, names))
        raise _refused(
            "Access denied. The request signature we calculated does not match the signature "
            "you provided. Check your Google secret key and signing method.",
            f"CanonicalRequest:\n{canonical}",
        )
    now, signed = service.clock.now(), _moment(date)
    if signed > now + _SKEW:
        raise _refused("The request was signed in the future.", date, "RequestTimeTooSkewed")
    if now >= signed + expires:
        details = f"Request signature expired: signed {date}, good for {expires} seconds"
        raise _refused("The provided token has expired.", details, "ExpiredToken")
    return email


def _any_matches(request, service, email, scope, date, pairs, names, signature):
    keys = service.accounts.keys_of(email)
    for canonical in _canonical_requests(request, service, pairs, names):
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        message = "\n".join([_ALGORITHM, date, scope, digest]).encode()
        if any(key.has_signed(signature, message) for key in keys):
            return True
    return False
