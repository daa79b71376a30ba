"""Uploads in one request."""

import os

from .support import UPLOAD, Case, crc32c_of, md5_of, path_of


class Uploads(Case):
    def test_multipart_is_binary_safe(self):
        noise = os.urandom(300_000)
        for content in (
            b"",
            b"\r\n",
            b"\n",
            b"\r\n--b0undar",
            b"\r\n--b0undaryX\r\n",
            b"x--b0undary\r\n\r\nx",
            b"x\r\n\r\n--b0undary and more\r\n",
            bytes(range(256)) * 3,
            noise,
        ):
            made = self.created("binary", content)
            self.assertEqual(made["size"], str(len(content)))
            self.assertEqual(made["md5Hash"], md5_of(content))
            read = self.emulator.ask("GET", path_of("binary") + "?alt=media").body
            self.assertEqual(read, content)

    def test_resource(self):
        metadata = {"contentType": "a/b", "metadata": {"k": "v"}, "cacheControl": "private"}
        metadata["customTime"] = "2026-01-01T00:00:00Z"
        made = self.created("resource", b"abc", metadata=metadata)
        self.assertEqual(made["crc32c"], crc32c_of(b"abc"))
        self.assertEqual(made, self.emulator.ask("GET", path_of("resource")).json)
        expected = {**metadata, "name": "resource", "metageneration": "1", "size": "3"}
        self.assertEqual({key: made[key] for key in expected}, expected)
        self.assertEqual(made["updated"], made["timeCreated"])

    def test_media(self):
        path = f"{UPLOAD}?uploadType=media&name=m"
        for body, chunked in ((b"whole", False), (iter([b"wh", b"ole"]), True)):
            headers = {"Content-Type": "text/m"}
            headers |= {"Transfer-Encoding": "chunked"} if chunked else {}
            answer = self.emulator.ask("POST", path, body, headers, chunked)
            self.assertEqual((answer.status, answer.json["contentType"]), (200, "text/m"))
            self.assertEqual(answer.json["md5Hash"], md5_of(b"whole"))
        self.refused(self.emulator.ask("POST", f"{UPLOAD}?uploadType=media", b""), 400, "required")

    def test_checksums_are_verified(self):
        right = {"md5Hash": md5_of(b"x"), "crc32c": crc32c_of(b"x")}
        self.created("sums", b"x", metadata=right)
        self.created("sums", b"x", trailing=right)
        before = self.generation("sums")
        for wrong in ({"md5Hash": md5_of(b"y")}, {"crc32c": crc32c_of(b"y")}, {"crc32c": "?"}):
            for where in ("metadata", "trailing"):
                answer = self.emulator.put("sums", b"x", **{where: wrong})
                self.refused(answer, 400, "invalid")
        header = {"x-goog-hash": f"crc32c={crc32c_of(b'y')}"}
        self.refused(self.emulator.put("sums", b"x", headers=header), 400, "invalid")
        self.assertEqual(self.generation("sums"), before)

    def test_bodies_that_break_off_store_nothing(self):
        path = f"{UPLOAD}?uploadType=media&name=broken"
        for headers, body in (
            ({"Content-Length": "100"}, b"x" * 99),
            ({"Transfer-Encoding": "chunked"}, b"a\r\n0123456789\r\n"),
            ({"Transfer-Encoding": "chunked"}, b"a\r\n01234"),
        ):
            self.emulator.send_and_break("POST", path, headers, body)
            self.emulator.send_and_break("POST", path, headers, body, reset=True)
        multi = {"Content-Type": "multipart/related; boundary=b", "Content-Length": "60"}
        body = b"--b\r\n\r\n{}\r\n--b\r\n\r\nhalf of the conte"
        path = f"{UPLOAD}?uploadType=multipart&name=broken"
        self.emulator.send_and_break("POST", path, multi, body)
        multi["Content-Length"] = str(len(body))
        self.refused(self.emulator.ask("POST", path, body, multi), 400, "invalid")
        self.assertEqual(self.emulator.ask("GET", path_of("broken")).status, 404)
