"""Starts the emulator."""

import argparse
import os
import signal
import sys
import threading

from . import iam
from .access import PERMISSIONS, Access
from .accounts import Accounts, write_account
from .clock import Clock
from .service import Service
from .storage import MemoryStorage
from .web import WebServer


def _arguments():
    parser = argparse.ArgumentParser(
        prog="run", description="An emulator of Google Cloud Storage on 127.0.0.1, for tests."
    )
    add = parser.add_argument
    add("--bucket", required=True, metavar="NAME", help="the bucket that there is")
    add("--port", type=int, default=0, help="port of 127.0.0.1; 0, the default, for a free one")
    add("--public", action="store_true", help="everybody may get objects by their URLs")
    add(
        "--account",
        action="append",
        default=[],
        metavar="FILE",
        help="key file of a service account that is known; with one, others are refused",
    )
    add(
        "--write-account",
        metavar="FILE",
        help="makes such a key file, with the key alone in FILE.pem, and knows that account",
    )
    add(
        "--permissions",
        default=",".join(PERMISSIONS),
        metavar="A,B,C",
        help="what accounts may do (default: %(default)s)",
    )
    add(
        "--clock-offset",
        type=float,
        default=0,
        metavar="SECONDS",
        help="how far the service's clock is ahead of the machine's",
    )
    add(
        "--token-lifetime",
        type=float,
        default=3600,
        metavar="SECONDS",
        help="for how long the metadata server's tokens are good (default: %(default)s)",
    )
    add(
        "--iam",
        type=iam.address,
        metavar="ADDRESS:PORT",
        help=f"also listens there as {iam.HOST}, with TLS",
    )
    add("--iam-ca", metavar="FILE", help="where the authority's certificate for that is written")
    add("--no-sign-blob", action="store_true", help="nobody may have something signed there")
    add("--end-with-stdin", action="store_true", help="ends when its standard input is closed")
    arguments = parser.parse_args()
    arguments.permissions = [one.strip() for one in arguments.permissions.split(",") if one]
    for permission in arguments.permissions:
        if permission not in PERMISSIONS:
            parser.error(f"{permission} is none of {', '.join(PERMISSIONS)}")
    if (arguments.iam is None) != (arguments.iam_ca is None):
        parser.error("--iam and --iam-ca go together")
    return arguments


def _service(arguments):
    clock = Clock(arguments.clock_offset)
    accounts = Accounts(clock, arguments.token_lifetime)
    files = list(arguments.account)
    if arguments.write_account:
        write_account(arguments.write_account)
        files.insert(0, arguments.write_account)
    for file in files:
        accounts.register(file)
    storage = MemoryStorage(clock)
    storage.add_bucket(arguments.bucket)
    access = Access(accounts, arguments.permissions, arguments.public)
    return Service(clock, storage, accounts, access, not arguments.no_sign_blob)


def _end(*_):
    # At once: there is nothing to put in order, and much to free.
    os._exit(0)


def _end_with_stdin():
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    _end()


def _in_background(function):
    threading.Thread(target=function, daemon=True).start()


def main():
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    arguments = _arguments()
    if arguments.end_with_stdin:
        _in_background(_end_with_stdin)
    service = _service(arguments)
    web = WebServer(("127.0.0.1", arguments.port), service)
    service.port = web.server_port
    if arguments.iam is not None:
        _in_background(iam.listen(arguments.iam, arguments.iam_ca, service).serve_forever)
    print(f"http://127.0.0.1:{service.port}", flush=True)
    web.serve_forever()


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"gcs-emulator: error: {error}")
