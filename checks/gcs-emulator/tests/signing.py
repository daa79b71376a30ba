"""What the tests of accounts share: signatures and tokens."""

import base64
import hashlib
import json
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

from .support import BUCKET, EMAIL, Case


def der(data):
    """The values in a sequence of ASN.1, each with its tag."""
    while data:
        length, start = data[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[2:start], "big")
        yield data[0], data[start : start + length]
        data = data[start + length :]


class RsaKey:
    """Signs, with what Python has, and not as the emulator does."""

    def __init__(self, pem):
        outer = base64.b64decode("".join(pem.strip().splitlines()[1:-1]))
        ((_, sequence),) = der(outer)
        key = next(value for tag, value in der(sequence) if tag == 4)
        ((_, sequence),) = der(key)
        numbers = [int.from_bytes(value, "big") for _, value in der(sequence)]
        self.modulus, self.exponent = numbers[1], numbers[3]

    def sign(self, message):
        digest = bytes.fromhex("3031300d060960864801650304020105000420")
        digest += hashlib.sha256(message).digest()
        size = (self.modulus.bit_length() + 7) // 8
        padded = b"\0\1" + b"\xff" * (size - len(digest) - 3) + b"\0" + digest
        signed = pow(int.from_bytes(padded, "big"), self.exponent, self.modulus)
        return signed.to_bytes(size, "big")


class Signing(Case):
    """Cases with an account."""

    arguments = ("--write-account", "{dir}/account.json")

    def sign(self, data):
        return RsaKey(Path(f"{self.account_file}.pem").read_text()).sign(data)

    def jwt(self, issued=0, expires=3600, **claims):
        now = int(time.time())
        claims = {"iss": EMAIL, "sub": EMAIL, "iat": now + issued, "exp": now + expires, **claims}
        parts = [{"alg": "RS256", "typ": "JWT"}, claims]
        encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")  # noqa: E731
        text = b".".join(encode(json.dumps(part).encode()) for part in parts)
        return (text + b"." + encode(self.sign(text))).decode()

    def bearer(self, token=None):
        return {"Authorization": f"Bearer {token or self.jwt()}"}

    def url(self, name, age=0, expires=300, email=EMAIL, method="GET", extra=(), **headers):
        """A signed one; underscores in names of headers are for dashes."""
        moment = datetime.now(timezone.utc) - timedelta(seconds=age)
        date = moment.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{date[:8]}/auto/storage/goog4_request"
        headers = {"host": "127.0.0.1"} | {k.replace("_", "-"): v for k, v in headers.items()}
        names = ";".join(sorted(headers))
        query = {
            "X-Goog-Algorithm": "GOOG4-RSA-SHA256",
            "X-Goog-Credential": f"{email}/{scope}",
            "X-Goog-Date": date,
            "X-Goog-Expires": str(expires),
            "X-Goog-SignedHeaders": names,
            **dict(extra),
        }
        encoded = "&".join(f"{quote(k, '')}={quote(query[k], '')}" for k in sorted(query))
        path = f"/{BUCKET}/{quote(name)}"
        told = "".join(f"{one}:{headers[one]}\n" for one in sorted(headers))
        canonical = "\n".join([method, path, encoded, told, names, "UNSIGNED-PAYLOAD"])
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(["GOOG4-RSA-SHA256", date, scope, digest])
        return f"{path}?{encoded}&X-Goog-Signature={self.sign(text.encode()).hex()}"

    def created(self, name, content=b"content", **more):
        return super().created(name, content, headers=self.bearer(), **more)

    def code(self, path, headers=()):
        """The status and the code of the XML API's answer."""
        answer = self.emulator.ask("GET", path, headers=headers)
        if answer.status < 300:
            return answer.status, ""
        return answer.status, answer.body.decode().split("<Code>")[1].split("</Code>")[0]
