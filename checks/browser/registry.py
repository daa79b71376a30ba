"""The server as other clients see it: docker, programs, and many watchers."""

import asyncio
import http.client
import json
import re
import socket
import subprocess
import time
from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Registry:
    """The server at `address`, whose packages wait for files in `gates`."""

    def __init__(self, address, gates):
        self.address, self.gates = address, Path(gates)
        self.host, port = address.split(":")
        self.port = int(port)

    def ask(self, path, method="GET", headers=()):
        """Status and content."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=120)
        try:
            connection.request(method, path, headers=dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def build(self, image):
        """A build as JSON; nothing if none was begun."""
        status, content = self.ask(f"/api/v1/builds/{image}/latest")
        return json.loads(content) if status == 200 else None

    def make(self, image):
        """Waits until the image is made; its status."""
        return self.ask(f"/v2/{image}/manifests/latest", headers={"Accept": MANIFEST})

    def open_gate(self, package, number):
        (self.gates / f"{package}-{number}").touch()

    def nix_runs(self):
        """How often the builder was run since the server was started."""
        _, text = self.ask("/metrics")
        runs = re.findall(r"^nixery_nix_runs_total\{.*\} (\d+)$", text, re.MULTILINE)
        assert runs, text
        return sum(map(int, runs))

    def pull(self, image):
        """docker, pulling in the background."""
        command = ["docker", "pull", f"{self.address}/{image}"]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def watch(self, image, watchers):
        """Watchers of a build until its end: the whole text that each was sent."""
        return asyncio.run(self._watch(image, watchers))

    async def _watch(self, image, watchers):
        return await asyncio.gather(*(self._watch_one(image) for _ in range(watchers)))

    async def _watch_one(self, image):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(self._request_events(image))
        try:
            return (await asyncio.wait_for(reader.read(), 60)).decode()
        finally:
            writer.close()

    def watch_without_reading(self, image):
        """A watcher that takes nothing of what it is sent."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((self.host, self.port))
        connection.sendall(self._request_events(image))
        return connection

    def _request_events(self, image):
        return (
            f"GET /api/v1/builds/{image}/latest HTTP/1.1\r\nHost: {self.address}\r\n"
            "Accept: text/event-stream\r\nConnection: close\r\n\r\n"
        ).encode()


def ended(process, seconds=60):
    """Exit status and output of a process, and how long that took."""
    began = time.monotonic()
    output, _ = process.communicate(timeout=seconds)
    return process.returncode, output, time.monotonic() - began
