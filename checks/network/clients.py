#!/usr/bin/env python3
"""Clients of every kind whose cable can be cut, for checks/network.sh.

Usage: clients.py DIRECTORY NAME HOST PORT TLS_PORT

Connects to both ports, by TLS to the second one: first whoever waits for an image or watches
a build, which takes a moment; then, when DIRECTORY/go is there, the others at once, as some of
them are soon hung up on. DIRECTORY/NAME.ready then has the address of each, as JSON. When
DIRECTORY/end is there, it prints what each has got, as JSON.
"""

import json
import os
import socket
import ssl
import sys
import threading
import time

import http2

directory, name, host = sys.argv[1:4]
SERVERS = {"": int(sys.argv[4]), " by TLS": int(sys.argv[5])}

# Clients look at it rather than at a clock, however slow the machine is.
GO, END = (os.path.join(directory, file) for file in ("go", "end"))

# What a slow client takes at a time, and how often: 300 kB in a second; by TLS a quarter.
PART, PAUSE = 64 * 1024, 0.2


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.02)


class Client(threading.Thread):
    """One connection; what it does is its subclass."""

    # Whether it is there before DIRECTORY/go.
    is_early = False

    def __init__(self, kind, port, context):
        super().__init__(daemon=True)
        self.kind, self.context = kind, context
        self.got, self.is_ready = "nothing", threading.Event()
        self.raw = socket.socket()
        # So that most of a blob is still the server's.
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PART)
        self.raw.connect((host, port))
        self.address = "{}:{}".format(*self.raw.getsockname())

    def open(self, protocol="http/1.1"):
        """The stream to speak on, by TLS or not."""
        if self.context is None:
            return self.raw
        self.context.set_alpn_protocols([protocol])
        return self.context.wrap_socket(self.raw, server_hostname=host)

    def run(self):
        try:
            self.speak()
        except OSError as error:
            self.got = str(error)

    def get(self, path, accept="*/*"):
        """The stream, and the head of the answer and what came along with it."""
        stream = self.open()
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n"
        stream.sendall(request.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = stream.recv(PART)
            if not part:
                raise OSError(f"closed after {answer!r}")
            answer += part
        return stream, answer


class Idle(Client):
    """Has been answered, and may ask again."""

    def speak(self):
        stream, answer = self.get("/v2/")
        self.got = answer[9:12].decode()
        self.is_ready.set()
        stream.recv(PART)


class Head(Client):
    """Has sent half of a request."""

    def speak(self):
        stream = self.open()
        stream.sendall(b"GET /v2/ HTTP/1.1\r\nHost: ")
        self.is_ready.set()
        stream.recv(PART)


class Handshake(Client):
    """Has sent the beginning of a handshake."""

    def speak(self):
        self.raw.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        self.is_ready.set()
        self.raw.recv(PART)


class Blob(Client):
    """Is in the middle of a blob, slowly."""

    def speak(self):
        stream, answer = self.get(BLOB)
        self.got = len(answer)
        self.is_ready.set()
        while part := stream.recv(PART):
            self.got += len(part)
            time.sleep(PAUSE)
        self.got = f"closed after {self.got} bytes"


class Waiting(Client):
    """Waits for an image."""

    is_early, image = True, "two"

    def speak(self):
        self.is_ready.set()
        _, answer = self.get(f"/v2/{self.image}/manifests/latest")
        self.got = answer[9:12].decode()


class AnsweredLate(Waiting):
    """The same, and the answer comes just after the cut."""

    image = "three"


class Watcher(Client):
    """Watches a build that has something to say."""

    is_early = True

    def speak(self):
        # There is nothing to watch before somebody asks for it.
        time.sleep(1)
        stream, events = self.get("/api/v1/builds/two/latest", "text/event-stream")
        self.got = "events" if b"text/event-stream" in events.lower() else repr(events)
        self.is_ready.set()
        while b"event: end" not in events:
            part = stream.recv(PART)
            if not part:
                return
            events = events[-100:] + part
        self.got = "end"


class Http2(Client):
    """Asks by HTTP/2, answers pings, and takes no more than the first 64 KiB."""

    def speak(self):
        connection = http2.Connection(self.open("h2"), host)
        connection.get(self.path())
        self.is_ready.set()
        for status in connection.answers():
            self.got = status

    def path(self):
        return BLOB


class Http2Waiting(Http2):
    """Waits for an image by HTTP/2."""

    is_early = True

    def path(self):
        return "/v2/two/manifests/latest"


KINDS = {
    "waiting for an image": Waiting,
    "waiting by HTTP/2": Http2Waiting,
    "answered after the cut": AnsweredLate,
    "watching a build": Watcher,
    "in the middle of a blob": Blob,
    "with a held stream of HTTP/2": Http2,
    "idle": Idle,
    "in the middle of a head": Head,
}

with open(os.path.join(directory, "blob"), encoding="ascii") as file:
    BLOB = file.read().strip()


def begin(is_early):
    new = []
    for tls, port in SERVERS.items():
        kinds = dict(KINDS)
        if tls:
            kinds["in the middle of a handshake"] = Handshake
        for kind, client in kinds.items():
            if client.is_early == is_early:
                context = None
                if tls:
                    context = ssl.create_default_context(cafile=os.path.join(directory, "certificate"))
                new.append(client(kind + tls * (client is not Handshake), port, context))
    for client in new:
        client.start()
    for client in new:
        if not client.is_ready.wait(60):
            sys.exit(f"{name}: {client.kind}: {client.got}")
    return new


early = begin(True)
open(os.path.join(directory, f"{name}.early"), "w").close()
wait_for(GO)
clients = early + begin(False)
with open(os.path.join(directory, f"{name}.new"), "w", encoding="utf-8") as file:
    json.dump({client.address: client.kind for client in clients}, file)
os.rename(os.path.join(directory, f"{name}.new"), os.path.join(directory, f"{name}.ready"))
wait_for(END)
json.dump({client.kind: client.got for client in clients}, sys.stdout)
