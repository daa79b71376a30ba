"""A line to the server that can be cut."""

import contextlib
import socket
import threading


class Line:
    """Listens on a port of its own, and passes on what is said there."""

    def __init__(self, port):
        self.server = ("localhost", port)
        self.port = 0
        self.connections = []
        self.mend()

    def mend(self):
        """Accepts connections, on the same port as before."""
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=[self.listener], daemon=True).start()

    def cut(self):
        """Ends all connections, and refuses others."""
        ended, self.connections = [self.listener, *self.connections], []
        for connection in ended:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.server)
            self.connections += [client, server]
            for ends in ((client, server), (server, client)):
                threading.Thread(target=pass_on, args=ends, daemon=True).start()


def pass_on(source, sink):
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            sink.sendall(content)
        sink.shutdown(socket.SHUT_WR)
