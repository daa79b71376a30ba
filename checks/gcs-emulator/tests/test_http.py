"""Connections, large objects, and what is for tests only."""

import hashlib
import http.client
import os
import socket
import time

from .support import BUCKET, OBJECTS, UPLOAD, Case, path_of


class Http(Case):
    def test_connections_are_kept(self):
        connection = http.client.HTTPConnection(*self.emulator.address, timeout=10)
        self.created("kept")
        for method, path, body, status in (
            ("GET", path_of("none"), None, 404),
            ("POST", "/nothing/here", b"a body that nobody reads", 501),
            ("GET", path_of("kept"), None, 200),
            ("DELETE", path_of("kept"), None, 204),
            ("HEAD", f"/{BUCKET}/kept", None, 404),
            ("GET", OBJECTS, None, 200),
        ):
            connection.request(method, path, body)
            answer = connection.getresponse()
            answer.read()
            self.assertEqual(answer.status, status, path)
            if path == path_of("none"):
                used = connection.sock
            self.assertIs(connection.sock, used)
        connection.close()

    def test_expectations(self):
        head = f"POST {UPLOAD}?uploadType=media&name=e HTTP/1.1\r\nHost: x\r\n"
        head += "Content-Length: 1\r\nExpect: 100-continue\r\n\r\n"
        with socket.create_connection(self.emulator.address, 10) as connection:
            connection.sendall(head.encode())
            self.assertIn(b" 100 ", connection.recv(1000))
            connection.sendall(b"x")
            self.assertIn(b" 200 ", connection.recv(1000))

    def test_journal_and_damage(self):
        made = self.created("damaged", b"0123456789")
        path = path_of("damaged") + "?alt=media"
        self.assertEqual(self.emulator.ask("POST", "/_/damage?name=damaged").status, 200)
        damaged = self.emulator.ask("GET", path).body
        same = sum(a == b for a, b in zip(damaged, b"0123456789", strict=True))
        self.assertEqual((len(damaged), same), (10, 9))
        self.assertEqual(self.emulator.ask("GET", path_of("damaged")).json, made)
        self.assertEqual(self.emulator.ask("POST", "/_/damage?name=none").status, 404)
        self.assertEqual(self.emulator.ask("GET", "/_/health").status, 200)
        entries = self.emulator.ask("GET", "/_/requests").json
        self.assertIn(["GET", path, 200], entries)
        self.assertFalse([one for one in entries if one[1].startswith("/_/")])

    def test_large_objects(self):
        """Hundreds of megabytes in parts, without much ado."""
        part = os.urandom(8 << 20)
        began = time.monotonic()
        for i in range(8):
            self.created(f"large/{i}", part)
        for i in range(4):
            sources = [{"name": f"large/{j}"} for j in range(8)]
            path, body = path_of(f"larger/{i}") + "/compose", {"sourceObjects": sources}
            self.assertEqual(self.emulator.json("POST", path, body).status, 200)
        sources = {"sourceObjects": [{"name": f"larger/{i}"} for i in range(4)]}
        whole = self.emulator.json("POST", path_of("largest") + "/compose", sources).json
        self.assertEqual((whole["size"], whole["componentCount"]), (str(256 << 20), 32))
        digest = hashlib.md5(self.emulator.ask("GET", f"/{BUCKET}/largest").body)
        self.assertEqual(digest.digest(), hashlib.md5(part * 32).digest())
        self.assertLess(time.monotonic() - began, 10)
