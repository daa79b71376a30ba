"""Reading objects."""

from .support import BUCKET, Case, crc32c_of, md5_of, path_of


class Reads(Case):
    def test_content_and_its_headers(self):
        metadata = {"cacheControl": "no-store", "contentType": "text/x", "metadata": {"a": "ä\n"}}
        made = self.created("r/one two", b"0123456789", metadata=metadata)
        for method, path in (
            ("GET", path_of("r/one two") + "?alt=media"),
            ("GET", f"/download{path_of('r/one two')}"),
            ("GET", f"/{BUCKET}/r/one%20two"),
            ("HEAD", f"/{BUCKET}/r/one%20two"),
        ):
            answer = self.emulator.ask(method, path)
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.body, b"" if method == "HEAD" else b"0123456789")
            for name, value in {
                "x-goog-generation": made["generation"],
                "x-goog-metageneration": "1",
                "x-goog-stored-content-length": "10",
                "x-goog-storage-class": "STANDARD",
                "Content-Length": "10",
                "Content-Type": "text/x",
                "Cache-Control": "no-store",
                "x-goog-hash": f"crc32c={crc32c_of(b'0123456789')},md5={md5_of(b'0123456789')}",
            }.items():
                self.assertEqual(answer.headers[name], value, (path, name))
            self.assertTrue(answer.headers["ETag"])

    def test_ranges(self):
        self.created("range", b"0123456789")
        self.created("empty", b"")
        for path in (path_of("range") + "?alt=media", f"/{BUCKET}/range"):
            for header, body, told in (
                ("2-4", b"234", "2-4"),
                ("7-", b"789", "7-9"),
                ("-3", b"789", "7-9"),
                ("-30", b"0123456789", "0-9"),
                ("8-100", b"89", "8-9"),
            ):
                answer = self.emulator.ask("GET", path, headers={"Range": f"bytes={header}"})
                self.assertEqual((answer.status, answer.body), (206, body))
                self.assertEqual(answer.headers["Content-Range"], f"bytes {told}/10")
                self.assertNotIn("x-goog-hash", answer.headers)
            for header in ("10-", "10-20", "-0"):
                answer = self.emulator.ask("GET", path, headers={"Range": f"bytes={header}"})
                self.assertEqual(answer.status, 416, header)
                self.assertEqual(answer.headers["Content-Range"], "bytes */10")
            answer = self.emulator.ask("GET", path, headers={"Range": "lines=1-2"})
            self.assertEqual(answer.status, 200)
        for path in (path_of("empty") + "?alt=media", f"/{BUCKET}/empty"):
            self.assertEqual(self.emulator.ask("GET", path).status, 200)
            answer = self.emulator.ask("GET", path, headers={"Range": "bytes=0-"})
            self.assertEqual(answer.status, 416)

    def test_generation_and_type(self):
        made = self.created("g")
        for path in (path_of("g") + "?alt=media&", f"/{BUCKET}/g?", path_of("g") + "?"):
            query = f"generation={made['generation']}"
            self.assertEqual(self.emulator.ask("GET", path + query).status, 200)
            self.assertEqual(self.emulator.ask("GET", path + query + "1").status, 404)
        answer = self.emulator.ask("GET", f"/{BUCKET}/g?response-content-type=a%2Fb")
        self.assertEqual(answer.headers["Content-Type"], "a/b")

    def test_what_is_not_there(self):
        answer = self.emulator.ask("GET", path_of("no/where"))
        self.refused(answer, 404, "notFound")
        message = f"No such object: {BUCKET}/no/where"
        self.assertEqual(answer.json["error"]["message"], message)
        for method, path in (("GET", "/o"), ("GET", "/o/x"), ("DELETE", "/o/x"), ("GET", "")):
            answer = self.emulator.ask(method, f"/storage/v1/b/other{path}")
            self.refused(answer, 404, "notFound")
            message = answer.json["error"]["message"]
            self.assertEqual(message, "The specified bucket does not exist.")
        for path, code in ((f"/{BUCKET}/none", b"NoSuchKey"), ("/other/none", b"NoSuchBucket")):
            answer = self.emulator.ask("GET", path)
            self.assertEqual(answer.status, 404)
            self.assertIn(b"<Code>" + code + b"</Code>", answer.body)

    def test_names_are_only_texts(self):
        for name in ("a//b", "a/b", "/a/b", "a/../b", "ä ö%2F", "c\\d", "o/compose"):
            self.created(name, name.encode())
        for name in ("a//b", "a/b", "/a/b", "a/../b", "ä ö%2F", "c\\d", "o/compose"):
            answer = self.emulator.ask("GET", path_of(name) + "?alt=media")
            self.assertEqual(answer.body, name.encode())
