#!/usr/bin/env python3
"""Cuts the cables of clients, and looks when servers let go of them.

Usage: cut.py DIRECTORY PREFIX SECONDS PID…

When all of DIRECTORY/NAME.ready are there, with the ports of a client's connections, its
cable is cut, in the way that NAME says. Prints a line for each connection: NAME, the kind of
client, and after how many seconds the server with one of the PIDs had closed the file
descriptor, or `never`, in SECONDS.
"""

import json
import os
import socket
import subprocess
import sys
import time

directory, prefix, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
PIDS = sys.argv[4:]


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def down(name):
    """Its interface has no carrier any more, and the router finds nobody there."""
    ip("-n", prefix + name, "link", "set", "eth0", "down")


def dropped(name):
    """What is sent either way is lost, and nobody says so."""
    for direction in ("to", "from"):
        ip("-n", prefix + "router", "rule", "add", direction, network(name), "blackhole")


def gone(name):
    """The machine is gone, and the router says that there is no such network."""
    ip("-n", prefix + "router", "link", "del", "to-" + name)


def network(name):
    found = subprocess.run(
        ["ip", "-n", prefix + "router", "-json", "route", "show", "dev", "to-" + name],
        check=True, capture_output=True,
    )
    return json.loads(found.stdout)[0]["dst"]


CUTS = {"down": down, "dropped": dropped, "gone": gone}


def sockets():
    """The servers' sockets, as links in /proc/PID/fd, by who is at the other end."""
    found = {}
    # Of all processes of the namespace: proc_pid_net(5).
    with open(f"/proc/{PIDS[0]}/net/tcp", encoding="ascii") as table:
        for line in list(table)[1:]:
            fields = line.split()
            address, port = fields[2].split(":")
            address = socket.inet_ntoa(bytes.fromhex(address)[::-1])
            found[f"{address}:{int(port, 16)}"] = f"socket:[{fields[9]}]"
    return found


def held():
    """What the servers have file descriptors of."""
    links = set()
    for pid in PIDS:
        for number in os.listdir(f"/proc/{pid}/fd"):
            try:
                links.add(os.readlink(f"/proc/{pid}/fd/{number}"))
            except FileNotFoundError:
                pass
    return links


ready = {name: os.path.join(directory, f"{name}.ready") for name in CUTS}
while not all(map(os.path.exists, ready.values())):
    time.sleep(0.02)
there, waiting = sockets(), {}
for name, path in ready.items():
    with open(path, encoding="utf-8") as file:
        for peer, kind in json.load(file).items():
            waiting[name, kind] = there.get(peer)
lost = [key for key, link in waiting.items() if link not in held()]
if lost:
    sys.exit(f"hung up on before the cut: {lost}")
begin = time.monotonic()
for name, cut in CUTS.items():
    cut(name)
open(os.path.join(directory, "cut"), "w").close()
while waiting and time.monotonic() < begin + seconds:
    time.sleep(0.05)
    now = held()
    for key in [key for key, link in waiting.items() if link not in now]:
        print(*key, f"{time.monotonic() - begin:.1f}", sep="\t", flush=True)
        del waiting[key]
for key in waiting:
    print(*key, "never", sep="\t")
