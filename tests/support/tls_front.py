"""TLS before a Postgres that has none: the wheel's server is built without OpenSSL."""

import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stack.certificates import self_signed
from tests.support.services import free_port

# https://www.postgresql.org/docs/current/protocol-message-formats.html: SSLRequest.
SSL_REQUEST = struct.pack("!II", 8, 80_877_103)


def pump(source: socket.socket, target: socket.socket) -> None:
    """Copy bytes until one side ends, then end both."""
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Front(socketserver.ThreadingTCPServer):
    """Accepts connections with TLS only, and passes them on without it."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, upstream: int, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.upstream = upstream
        self.context = context


class Handler(socketserver.BaseRequestHandler):
    """One connection."""

    server: Front

    def handle(self) -> None:
        """Answer the request for TLS, and copy in both directions."""
        if self.request.recv(8) != SSL_REQUEST:
            return
        self.request.sendall(b"S")
        try:
            client = self.server.context.wrap_socket(self.request, server_side=True)
        except (ssl.SSLError, OSError):
            return  # it does not trust our certificate
        with client, socket.create_connection(("127.0.0.1", self.server.upstream)) as upstream:
            answers = threading.Thread(target=pump, args=(upstream, client))
            answers.start()
            pump(client, upstream)
            answers.join()


@contextmanager
def tls_front(upstream: int, folder: Path) -> Iterator[tuple[int, Path]]:
    """Serve TLS before the port `upstream`; yields the port and the authority's certificate."""
    certificate, key = self_signed("postgres")
    authority = folder / "ca.crt"
    authority.write_bytes(certificate)
    authority.chmod(0o644)
    private = folder / "server.key"
    private.write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, private)
    with Front(free_port(), upstream, context) as front:
        threading.Thread(target=front.serve_forever, daemon=True).start()
        try:
            yield front.server_address[1], authority
        finally:
            front.shutdown()
