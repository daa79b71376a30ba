"""iamcredentials.googleapis.com, which signs for accounts whose keys nobody has.

https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signBlob

Clients find it by its name, and want a certificate for that.
"""

import ipaddress
import json
import re
import ssl
import tempfile
from base64 import b64decode, b64encode
from datetime import datetime, timedelta, timezone
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .errors import ApiError
from .web import WebServer

HOST = "iamcredentials.googleapis.com"

_PATH = re.compile(r"/v1/projects/-/serviceAccounts/([^/]+):signBlob")


class _IamError(ApiError):
    """Errors of Google's other services have another form (https://google.aip.dev/193)."""

    def as_json(self):
        error = {"code": self.status, "message": self.message, "status": self.reason}
        return json.dumps({"error": error}).encode()


def _certificate(name, key, issuer, issuer_key, extensions):
    now = datetime.now(timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())


def _key_usage(signs_certificates):
    names = "digital_signature content_commitment key_encipherment data_encipherment"
    names += " key_agreement key_cert_sign crl_sign encipher_only decipher_only"
    usage = dict.fromkeys(names.split(), False)
    usage["key_cert_sign" if signs_certificates else "digital_signature"] = True
    return x509.KeyUsage(**usage)


def _tls_context(ca_file):
    """With a certificate of an authority whose own is written to a file."""
    authority = "gcs-emulator authority"
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_extensions = [(x509.BasicConstraints(True, 0), True), (_key_usage(True), True)]
    ca = _certificate(authority, ca_key, authority, ca_key, ca_extensions)
    extensions = [
        (x509.BasicConstraints(False, None), True),
        (_key_usage(False), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectAlternativeName([x509.DNSName(HOST)]), False),
    ]
    leaf = _certificate(HOST, key, authority, ca_key, extensions)
    pem = serialization.Encoding.PEM
    with open(ca_file, "wb") as file:
        file.write(ca.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    with tempfile.NamedTemporaryFile() as chain:
        chain.write(leaf.public_bytes(pem))
        chain.write(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        chain.flush()
        context.load_cert_chain(chain.name)
    return context


def sign_blob(request, response, service):
    """Signs for an account that the caller may act for."""
    try:
        service.accounts.authenticate(request.get_header("Authorization"))
    except ApiError as error:
        message = "Request had invalid authentication credentials."
        headers = error.headers
        raise _IamError(401, message, reason="UNAUTHENTICATED", headers=headers) from None
    match = _PATH.fullmatch(unquote(request.path))
    if match is None or request.method != "POST":
        raise _IamError(404, "Method not found.", reason="NOT_FOUND")
    permission = "Permission 'iam.serviceAccounts.signBlob' denied on resource"
    if not service.may_sign:
        message = f"{permission} (or it may not exist)."
        raise _IamError(403, message, reason="PERMISSION_DENIED")
    keys = service.accounts.keys_of(match[1])
    if not keys:
        raise _IamError(404, f"Unknown service account {match[1]}", reason="NOT_FOUND")
    try:
        payload = b64decode(request.json_object()["payload"], validate=True)
    except (ApiError, KeyError, TypeError, ValueError):
        raise _IamError(400, "Invalid payload.", reason="INVALID_ARGUMENT") from None
    signed = b64encode(keys[0].sign(payload)).decode()
    response.json({"keyId": keys[0].key_id, "signedBlob": signed})


def address(text):
    """ADDRESS:PORT on the command line; only of this machine."""
    host, _, port = text.rpartition(":")
    if not ipaddress.IPv4Address(host).is_loopback:
        raise ValueError(f"{host} is no loopback address")
    return host, int(port)


def listen(where, ca_file, service):
    """A server that is ready to serve."""
    return WebServer(where, service, sign_blob, _tls_context(ca_file))
