"""How the emulator starts and ends."""

import subprocess
import unittest

from .support import BUCKET, RUN, Emulator, path_of


class Process(unittest.TestCase):
    def test_it_ends(self):
        self.assertEqual(Emulator().stop(), 0)
        emulator = Emulator()
        emulator.process.stdin.close()
        self.assertEqual(emulator.process.wait(10), 0)
        self.assertEqual(emulator.process.stdout.read(), b"")
        emulator.process.stdout.close()

    def test_private_buckets(self):
        """Without an account, all may use the JSON API, but not the URLs."""
        emulator = Emulator()
        self.addCleanup(emulator.stop)
        self.assertEqual(emulator.put("private", b"").status, 200)
        self.assertEqual(emulator.ask("GET", path_of("private")).status, 200)
        self.assertEqual(emulator.ask("GET", f"/{BUCKET}/private").status, 403)

    def test_wrong_arguments(self):
        for arguments in (
            [],
            ["--bucket", "b", "--permissions", "storage.objects.fly"],
            ["--bucket", "b", "--iam", "0.0.0.0:1", "--iam-ca", "/dev/null"],
            ["--bucket", "b", "--account", "/does/not/exist"],
        ):
            null = subprocess.DEVNULL
            ended = subprocess.run([RUN, *arguments], capture_output=True, stdin=null)
            self.assertNotEqual(ended.returncode, 0)
            self.assertEqual(ended.stdout, b"")
            self.assertNotIn(b"Traceback", ended.stderr)
