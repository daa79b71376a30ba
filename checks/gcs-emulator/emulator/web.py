"""The HTTP server: many connections at once, which are kept open.

The package's serves one request at a time, and closes the connection after it.
"""

import socket
import ssl
import sys
import traceback
from http import server as http_server
from socketserver import ThreadingMixIn

from gcp_storage_emulator import server

from . import routes
from .clock import http_date
from .errors import ApiError, BrokenBody
from .messages import Request, Response


class Handler(server.RequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    server_version = "gcs-emulator"
    sys_version = ""
    disable_nagle_algorithm = True
    # Headers and small bodies leave together.
    wbufsize = 64 << 10
    rbufsize = 256 << 10

    def __init__(self, service, answer, *arguments):
        self.service = service
        self._answer_with = answer
        super().__init__(service.storage, *arguments)

    def answer(self):
        """Answers one request."""
        address = "{}:{}".format(*self.server.server_address)
        request, response = Request(self, self.command, address), Response(self)
        try:
            try:
                self._answer_with(request, response, self.service)
            except ApiError as error:
                response.refuse(error, request.is_xml)
            except (BrokenBody, ConnectionError):
                raise
            except Exception:
                traceback.print_exc()
                response.refuse(ApiError(500, "The emulator has a fault."), request.is_xml)
            request.drain()
        except (ApiError, BrokenBody):
            # There is nobody to answer, or no knowing where the next request begins.
            self.close_connection = True
            return
        self.service.journal.add(self.command, self.path, int(response.status))
        response.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def handle_expect_100(self):
        result = super().handle_expect_100()
        self.wfile.flush()
        return result

    def date_time_string(self, timestamp=None):
        return http_date(self.service.clock.now() if timestamp is None else timestamp)

    def log_message(self, format, *args):
        pass


class WebServer(ThreadingMixIn, http_server.HTTPServer):
    """Listens on an address, with a certificate if it is given a context."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, service, answer=routes.answer, context=None):
        def handler(*arguments):
            return Handler(service, answer, *arguments)

        super().__init__(address, handler)
        if context is not None:
            # The handshake is left to the connection's thread.
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    def server_bind(self):
        # Without the look-up of the machine's name that HTTPServer does.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (OSError, ssl.SSLError)):
            traceback.print_exc()
