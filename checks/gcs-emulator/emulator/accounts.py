"""Service accounts and their credentials.

The key file: https://cloud.google.com/iam/docs/keys-create-delete
Tokens that accounts sign themselves: https://google.aip.dev/auth/4111
"""

import binascii
import json
import os
import secrets
from base64 import urlsafe_b64decode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .errors import ApiError

EMAIL = "nixery@test-project.iam.gserviceaccount.com"

# How far in the future a token may have been made.
_CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
_METADATA_SCOPES = {_CLOUD_PLATFORM, "https://www.googleapis.com/auth/devstorage.full_control"}

_SKEW = 600


class Account:
    """One key of a service account."""

    def __init__(self, email, key, key_id):
        self.email = email
        self.key_id = key_id
        self._key = key

    @classmethod
    def load(cls, path):
        """From a key file."""
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        key = serialization.load_pem_private_key(content["private_key"].encode(), None)
        return cls(content["client_email"], key, content["private_key_id"])

    def sign(self, message):
        return self._key.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def has_signed(self, signature, message):
        try:
            public = self._key.public_key()
            public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
            return True
        except InvalidSignature:
            return False


def _write_secret(path, content):
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with open(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        # There may have been one that others may read.
        os.fchmod(file.fileno(), 0o600)
        file.write(content)


def write_account(path):
    """Makes an account with a new key, and writes its key file, and the key beside it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    content = {
        "type": "service_account",
        "project_id": "test-project",
        "private_key_id": secrets.token_hex(20),
        "private_key": pem,
        "client_email": EMAIL,
        "client_id": "1" + "".join(secrets.choice("0123456789") for _ in range(20)),
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": "https://www.googleapis.com/robot/v1/metadata/x509/"
        + EMAIL.replace("@", "%40"),
        "universe_domain": "googleapis.com",
    }
    _write_secret(path, json.dumps(content, indent=2) + "\n")
    _write_secret(f"{path}.pem", pem)


def _decoded(part):
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


class Accounts:
    """The accounts that the service knows, and the tokens that it gave them."""

    def __init__(self, clock, token_lifetime):
        self._clock = clock
        self._token_lifetime = token_lifetime
        self._accounts = []
        self._tokens = {}

    def __bool__(self):
        return bool(self._accounts)

    def register(self, path):
        self._accounts.append(Account.load(path))

    def first(self):
        """The account that the machine has, if any."""
        return self._accounts[0] if self._accounts else None

    def keys_of(self, email):
        return [account for account in self._accounts if account.email == email]

    def issue_token(self, account):
        """A token and how many seconds it is good for."""
        token = "ya29.c." + secrets.token_urlsafe(48)
        self._tokens[token] = (account.email, self._clock.now() + self._token_lifetime)
        return token, self._token_lifetime

    def authenticate(self, header, changes_metadata=False):
        """The email of who sends an Authorization header. Not every scope of a token allows
        to change metadata: https://cloud.google.com/storage/docs/oauth-scopes"""
        scheme, _, token = (header or "").partition(" ")
        email = None
        if scheme.lower() == "bearer":
            email = self._of_issued(token.strip()) or self._of_signed(token.strip(), changes_metadata)
        if email is None:
            challenge = {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'}
            raise ApiError(401, "Invalid Credentials", headers=challenge)
        return email

    def _of_issued(self, token):
        email, expiry = self._tokens.get(token, (None, 0))
        return email if self._clock.now() < expiry else None

    def _of_signed(self, token, changes_metadata):
        try:
            signed, _, signature = token.rpartition(".")
            header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
            signature = _decoded(signature)
            now = self._clock.now()
            good = (
                header["alg"] == "RS256"
                and float(claims["exp"]) > now
                and float(claims["iat"]) <= now + _SKEW
            )
            emails = [claims.get("iss"), claims.get("sub")]
            # Without it, the token is for one service only, and good for all of that.
            scopes = claims.get("scope", _CLOUD_PLATFORM).split()
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
            return None
        for account in self._accounts if good else []:
            if account.email in emails and account.has_signed(signature, signed.encode()):
                if changes_metadata and not _METADATA_SCOPES.intersection(scopes):
                    raise ApiError(403, "Insufficient Permission: wrong scopes")
                return account.email
        return None
