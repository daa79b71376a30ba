"""Uploads that go on where they broke off."""

import os
import time

from .support import QUANTUM, UPLOAD, Case, crc32c_of, md5_of, path_of


class Resumable(Case):
    def session(self, name, **more):
        answer = self.emulator.start(name, **more)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.headers["Location"].removeprefix(self.emulator.url)

    def send(self, session, content, told, **headers):
        return self.emulator.ask("PUT", session, content, {"Content-Range": told, **headers})

    def stored(self, session):
        answer = self.send(session, b"", "bytes */*")
        self.assertEqual(answer.status, 308)
        told = answer.headers["Range"]
        return 0 if told is None else int(told.removeprefix("bytes=0-")) + 1

    def test_location_has_the_port(self):
        for host in ("127.0.0.1", "{}:{}".format(*self.emulator.address)):
            answer = self.emulator.start("located", headers={"Host": host})
            self.assertTrue(answer.headers["Location"].startswith(self.emulator.url + UPLOAD))

    def test_chunks(self):
        content = os.urandom(2 * QUANTUM + 100)
        session = self.session("chunks", metadata={"contentType": "a/b"})
        self.assertEqual(self.stored(session), 0)
        first = self.send(session, content[: QUANTUM + 5], f"bytes 0-{QUANTUM + 4}/*")
        self.assertEqual(first.headers["Range"], f"bytes=0-{QUANTUM - 1}")
        few = self.send(session, content[QUANTUM:][:5], f"bytes {QUANTUM}-{QUANTUM + 4}/*")
        self.assertEqual((few.status, self.stored(session)), (308, QUANTUM))
        total = len(content)
        # It may repeat what is there already.
        last = self.send(session, content[5:], f"bytes 5-{total - 1}/{total}")
        self.assertEqual((last.status, last.json["md5Hash"]), (200, md5_of(content)))
        self.assertEqual(last.json["contentType"], "a/b")
        self.assertEqual(self.send(session, b"", "bytes */*").json, last.json)
        self.assertEqual(self.emulator.ask("GET", path_of("chunks") + "?alt=media").body, content)

    def test_total_told_last(self):
        session = self.session("last")
        self.send(session, b"x" * QUANTUM, f"bytes 0-{QUANTUM - 1}/*")
        self.assertEqual(self.send(session, b"", f"bytes */{QUANTUM + 1}").status, 308)
        done = self.send(session, b"", f"bytes */{QUANTUM}")
        self.assertEqual((done.status, done.json["size"]), (200, str(QUANTUM)))
        empty = self.send(self.session("none"), b"", "bytes */0")
        self.assertEqual((empty.status, empty.json["size"]), (200, "0"))

    def test_streamed_to_the_end(self):
        session = self.session("streamed")
        headers = {"Content-Range": "bytes 0-*/*", "Transfer-Encoding": "chunked"}
        answer = self.emulator.ask("PUT", session, iter([b"ab", b"cde"]), headers, True)
        self.assertEqual((answer.status, answer.json["size"]), (200, "5"))

    def test_what_arrived_is_kept(self):
        content = os.urandom(5 * QUANTUM)
        for reset in (False, True):
            session = self.session("kept")
            headers = {"Content-Range": f"bytes 0-{len(content) - 1}/{len(content)}"}
            headers["Content-Length"] = str(len(content))
            sent = content[: 3 * QUANTUM + 77]
            self.emulator.send_and_break("PUT", session, headers, sent, reset)
            for _ in range(50):
                if self.stored(session):
                    break
                time.sleep(0.02)
            self.assertEqual(self.stored(session), 3 * QUANTUM)
            told = f"bytes {3 * QUANTUM}-{len(content) - 1}/{len(content)}"
            done = self.send(session, content[3 * QUANTUM :], told)
            self.assertEqual((done.status, done.json["md5Hash"]), (200, md5_of(content)))

    def test_checksums(self):
        wrong = {"x-goog-hash": f"crc32c={crc32c_of(b'y')}"}
        right = {"x-goog-hash": f"crc32c={crc32c_of(b'x')}"}
        self.refused(self.send(self.session("s"), b"x", "bytes 0-0/1", **wrong), 400, "invalid")
        session = self.session("s", metadata={"md5Hash": md5_of(b"y")})
        self.refused(self.send(session, b"x", "bytes 0-0/1"), 400, "invalid")
        self.assertEqual(self.emulator.ask("GET", path_of("s")).status, 404)
        self.assertEqual(self.send(self.session("s"), b"x", "bytes 0-0/1", **right).status, 200)

    def test_refusals(self):
        self.assertEqual(self.send(f"{UPLOAD}?upload_id=none", b"", "bytes */*").status, 404)
        session = self.session("refused")
        self.refused(self.send(session, b"x", "bytes 0-5/6"), 400, "invalid")
        self.refused(self.send(session, b"x", "bites"), 400, "invalid")
        self.assertEqual(self.send(session, b"x", "bytes 5-5/6").status, 503)

    def test_preconditions_at_start_and_end(self):
        session = self.session("p", query="&ifGenerationMatch=0")
        self.created("p", b"meanwhile")
        answer = self.emulator.start("p", query="&ifGenerationMatch=0")
        self.refused(answer, 412, "conditionNotMet")
        self.refused(self.send(session, b"x", "bytes 0-0/1"), 412, "conditionNotMet")
        self.assertEqual(self.emulator.ask("GET", path_of("p") + "?alt=media").body, b"meanwhile")
