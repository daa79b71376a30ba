"""Tests as lines of TAP, and what is printed of those that fail."""

import contextlib
import time
import traceback


class Report:
    """Counts tests; `on_failure` is called with the number of each that failed."""

    def __init__(self):
        self.passed = self.failed = 0
        self.on_failure = lambda number: None

    @contextlib.contextmanager
    def test(self, description):
        """One test: passes if its block raises nothing. The next one is run anyway."""
        try:
            yield
        except Exception as error:
            self.failed += 1
            print(f"not ok - {description}")
            where = traceback.extract_tb(error.__traceback__)[1:]
            for frame in where:
                if "/checks/browser" in frame.filename:
                    say(f"  line {frame.lineno} of {frame.filename}: {frame.line}")
            # Where Chromium's driver was then tells nothing.
            text = f"{type(error).__name__}: {error}".partition("\nStacktrace:")[0]
            for line in text.splitlines()[:30]:
                say(f"  {line[:500]}")
            with contextlib.suppress(Exception):
                self.on_failure(self.failed)
        else:
            self.passed += 1
            print(f"ok - {description}", flush=True)

    def summarize(self):
        """The last line; whether all passed."""
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return self.failed == 0


def say(text):
    """A remark beside the tests."""
    print(f"# {text}", flush=True)


def equal(is_there, wanted):
    assert is_there == wanted, f"{is_there!r} instead of {wanted!r}"


def wait_until(what, condition, seconds=30):
    """What `condition` returns as soon as that is true."""
    deadline = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        time.sleep(0.05)
