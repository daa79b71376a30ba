"""A shell with a terminal, in which commands are run one after the other."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path


# Of bash as it is, or as Debian has it.
PROMPT = re.compile(r"(bash-[0-9.]+|\w+@[\w-]+:\S*)[#$] ")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x1b\][^\x07]*\x07")


class Failed(Exception):
    """A command did something else than it has to."""


class Hung(Failed):
    """A command doesn't end, so that no other can be run."""


def plain(printed: bytes) -> str:
    """What a terminal would show: without colours, and of lines that were written over
    the last state."""
    text = ESCAPES.sub("", printed.decode(errors="replace")).replace("\r\n", "\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


class Terminal:
    """A bash that keeps its variables and its directory between commands."""

    def __init__(self, directory: Path, files: Path):
        self.files = files
        self.master, slave = pty.openpty()
        self.tty = os.ttyname(slave)
        # As wide as no line of the pages is, so that none is broken.
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 1000, 0, 0))
        self.slave = slave  # kept open, so that reading goes on when a command has ended
        self.said, says = os.pipe()
        self.shell = subprocess.Popen(
            ["bash", "--norc", "-s"],
            stdin=subprocess.PIPE,
            cwd=directory,
            pass_fds=[says],
            start_new_session=True,
        )
        os.close(says)
        self.says = says
        self.server = None

    def end(self):
        """Ends the shell, and the server that runs in it."""
        self.end_server()
        os.killpg(self.shell.pid, signal.SIGKILL)
        self.shell.wait()
        self.shell.stdin.close()
        for descriptor in (self.master, self.slave, self.said):
            os.close(descriptor)

    def _tell(self, code: str):
        self.shell.stdin.write((code + "\n").encode())
        self.shell.stdin.flush()

    def _read(self, descriptors, seconds: float):
        return select.select(descriptors, [], [], max(0, seconds))[0]

    def run(self, text: str, typed=(), seconds: float = 120) -> tuple[int, str, list[str]]:
        """Runs a command: its status, what it printed, and what it printed after each
        line that was typed into it."""
        (self.files / "command").write_text(text + "\n")
        self._tell(f". {self.files}/command <{self.tty} >{self.tty} 2>&1; echo $? >&{self.says}")
        printed, parts, status = b"", [], b""
        waiting = list(typed)
        deadline = time.monotonic() + seconds
        while not status.endswith(b"\n"):
            readable = self._read([self.master, self.said], deadline - time.monotonic())
            if not readable:
                raise Hung(f"it doesn't end; printed so far:\n{plain(printed)}")
            if self.master in readable:
                printed += os.read(self.master, 65536)
                is_at_prompt = PROMPT.fullmatch(plain(printed).rpartition("\n")[2])
                # Docker sets the terminal's size right after the start, and bash then prints
                # its prompt once more: what is typed before that is taken for answered.
                if waiting and is_at_prompt and not self._read([self.master], 0.5):
                    parts.append(printed)
                    printed = b""
                    os.write(self.master, waiting.pop(0).text.encode() + b"\n")
            elif self.said in readable:
                status += os.read(self.said, 16)
        while self._read([self.master], 0.05):
            printed += os.read(self.master, 65536)
        if waiting:
            raise Failed(f"it didn't wait for input: {waiting[0].text}\n{plain(printed)}")
        if not parts:
            return int(status), plain(printed), []
        parts.append(printed)
        after = []
        for part in parts[1:]:
            lines = plain(part).splitlines()[1:]  # the first one is what was typed
            if lines and PROMPT.fullmatch(lines[-1]):
                lines.pop()
            after.append("\n".join(lines))
        return int(status), plain(parts[0]), after

    def serve(self, text: str, is_ready, seconds: float = 120) -> str:
        """Starts a command in the background, and waits until it serves."""
        self.end_server()
        log, pid = self.files / "server", self.files / "server.pid"
        log.write_bytes(b"")
        (self.files / "serve").write_text(text + "\n")
        self._tell(f"( . {self.files}/serve ) </dev/null >{log} 2>&1 & echo $! >{pid}; echo 0 >&{self.says}")
        os.read(self.said, 16)
        self.server = int(pid.read_text())
        deadline = time.monotonic() + seconds
        while not is_ready():
            printed = plain(log.read_bytes())
            if time.monotonic() > deadline or not self._runs(self.server):
                raise Failed(f"it doesn't serve:\n{printed}")
            time.sleep(0.1)
        return plain(log.read_bytes())

    def _runs(self, pid: int) -> bool:
        return Path(f"/proc/{pid}").exists()

    def end_server(self):
        """Interrupts it, as Ctrl-C does, and waits until it has ended."""
        if self.server is None:
            return
        children = Path(f"/proc/{self.server}/task/{self.server}/children")
        targets = [int(pid) for pid in children.read_text().split()] if children.exists() else []
        for pid in targets or [self.server]:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + 40
        while self._runs(self.server) and time.monotonic() < deadline:
            time.sleep(0.05)
        if self._runs(self.server):
            raise Failed(f"the server doesn't end: {self.server}")
        self.server = None
