"""Signing for accounts."""

import base64
import http.client
import json
import socket
import ssl

from .signing import Signing
from .support import EMAIL, Answer, Emulator


class Iam(Signing):
    def start(self, *arguments):
        with socket.create_server(("127.0.0.77", 0)) as free:
            self.iam = free.getsockname()
        where = ("--iam", "{}:{}".format(*self.iam), "--iam-ca", f"{self.directory.name}/ca.pem")
        emulator = Emulator("--account", str(self.account_file), *where, *arguments)
        self.addCleanup(emulator.stop)
        return emulator

    def sign_blob(self, headers, email=EMAIL, payload=b"to be signed"):
        context = ssl.create_default_context(cafile=f"{self.directory.name}/ca.pem")
        connection = http.client.HTTPSConnection("iamcredentials.googleapis.com", context=context)
        plain = socket.create_connection(self.iam, 10)
        connection.sock = context.wrap_socket(plain, server_hostname=connection.host)
        body = json.dumps({"payload": base64.b64encode(payload).decode()})
        path = f"/v1/projects/-/serviceAccounts/{email}:signBlob"
        connection.request("POST", path, body, headers)
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    def test_blobs_are_signed(self):
        self.start()
        answer = self.sign_blob(self.bearer())
        self.assertEqual(answer.status, 200, answer.body)
        signed = base64.b64decode(answer.json["signedBlob"])
        self.assertEqual(signed, self.sign(b"to be signed"))
        account = json.loads(self.account_file.read_text())
        self.assertEqual(answer.json["keyId"], account["private_key_id"])
        self.assertEqual(self.sign_blob({}).json["error"]["status"], "UNAUTHENTICATED")
        self.assertEqual(self.sign_blob(self.bearer(), "me@example.org").status, 404)

    def test_or_not(self):
        self.start("--no-sign-blob")
        answer = self.sign_blob(self.bearer())
        status = answer.json["error"]["status"]
        self.assertEqual((answer.status, status), (403, "PERMISSION_DENIED"))
