"""What the tests share: a running emulator, and requests to it."""

import base64
import hashlib
import http.client
import json
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from urllib.parse import quote, urlsplit

RUN = Path(__file__).resolve().parent.parent / "run"
BUCKET = "test-bucket"
EMAIL = "nixery@test-project.iam.gserviceaccount.com"
OBJECTS = f"/storage/v1/b/{BUCKET}/o"
UPLOAD = f"/upload/storage/v1/b/{BUCKET}/o"
FLAVOR = {"Metadata-Flavor": "Google"}
QUANTUM = 256 << 10


def path_of(name):
    return f"{OBJECTS}/{quote(name, '')}"


def md5_of(content):
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def crc32c_of(content):
    """Slow, and not the emulator's."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return base64.b64encode((crc ^ 0xFFFFFFFF).to_bytes(4, "big")).decode()


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)


class Emulator:
    """A running emulator, and requests to it."""

    def __init__(self, *arguments):
        command = [RUN, "--bucket", BUCKET, "--end-with-stdin", *arguments]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe)
        self.url = self.process.stdout.readline().decode().strip()
        if not self.url.startswith("http://127.0.0.1:"):
            raise RuntimeError(f"it didn't start: {self.url!r}")
        self.address = ("127.0.0.1", urlsplit(self.url).port)

    def stop(self):
        self.process.terminate()
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(10)

    def ask(self, method, path, body=None, headers=(), chunked=False):
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        try:
            connection.request(method, path, body, dict(headers), encode_chunked=chunked)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def json(self, method, path, body=None, headers=()):
        data = None if body is None else json.dumps(body)
        return self.ask(method, path, data, {"Content-Type": "application/json", **dict(headers)})

    def put(self, name, content, query="", metadata=None, headers=(), trailing=None):
        """A multipart upload as the Rust SDK sends it: chunked, the content without a type."""
        boundary = "b0undary"
        line = f"--{boundary}\r\n".encode()
        kind = b'Content-Disposition: form-data; name="x"\r\nContent-Type: application/json\r\n\r\n'
        parts = [line + kind + json.dumps(metadata or {}).encode() + b"\r\n"]
        parts += [line + b'Content-Disposition: form-data; name="media"\r\n\r\n', content, b"\r\n"]
        if trailing is not None:
            parts.append(line + kind + json.dumps(trailing).encode() + b"\r\n")
        parts.append(f"--{boundary}--\r\n".encode())
        parts = [part for part in parts if part]
        told = {"Content-Type": f"multipart/related; boundary={boundary}"}
        told |= {"Transfer-Encoding": "chunked", **dict(headers)}
        path = f"{UPLOAD}?uploadType=multipart&name={quote(name, '')}{query}"
        return self.ask("POST", path, iter(parts), told, chunked=True)

    def start(self, name, query="", metadata=None, headers=()):
        path = f"{UPLOAD}?uploadType=resumable&name={quote(name, '')}{query}"
        return self.json("POST", path, metadata or {}, headers)

    def send_and_break(self, method, path, headers, content, reset=False):
        """Sends a request whose body isn't whole."""
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with socket.create_connection(self.address) as connection:
            text = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n"
            connection.sendall(text.encode() + content)
            if reset:
                time.sleep(0.1)
                linger = b"\x01\0\0\0\0\0\0\0"
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            else:
                connection.shutdown(socket.SHUT_WR)
                connection.recv(100)


class Case(unittest.TestCase):
    arguments = ("--public",)

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.account_file = Path(cls.directory.name) / "account.json"
        cls.emulator = Emulator(*[one.format(dir=cls.directory.name) for one in cls.arguments])

    @classmethod
    def tearDownClass(cls):
        cls.emulator.stop()
        cls.directory.cleanup()

    def refused(self, answer, status, reason=None):
        self.assertEqual(answer.status, status, answer.body)
        if reason:
            error = answer.json["error"]
            self.assertEqual((error["code"], error["errors"][0]["reason"]), (status, reason))

    def created(self, name, content=b"content", **more):
        answer = self.emulator.put(name, content, **more)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def generation(self, name):
        return int(self.emulator.ask("GET", path_of(name)).json["generation"])
