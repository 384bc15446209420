"""`python -m stack.api_socket PORT HOME`: hold the API's port, and hand it to the API.

The port stays open while one process of the API follows another, so that no connection is refused:
those that come meanwhile wait for the next process.
"""

import os
import socket
import sys
import time
from pathlib import Path

from stack import state_folder
from stack.programs import API_FD

BACKLOG = 2048
SECONDS_TO_CONNECT = 60.0
PAUSE_SECONDS = 0.1


def path(home: Path) -> Path:
    """Return the path of the socket over which the port is handed on."""
    return state_folder.socket_folder(home) / "api.sock"


def serve(port: int, home: Path) -> None:
    """Listen on the API's port, and hand it to whoever connects to the socket: this user only."""
    listener = None
    while listener is None:
        try:
            listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
        except OSError as error:  # an API that outlived this process may have the port for now
            print(f"port {port} is taken: {error}", flush=True)
            time.sleep(PAUSE_SECONDS)
    address = path(home)
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(address))
        address.chmod(0o600)
        server.listen()
        while True:
            connection, _ = server.accept()
            with connection:
                socket.send_fds(connection, [b"port"], [listener.fileno()])


def receive(home: Path, seconds: float = SECONDS_TO_CONNECT) -> None:
    """Put the API's port at the file descriptor `API_FD` of this process.

    Raises:
        TimeoutError: nobody hands it on.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            try:
                client.connect(str(path(home)))
                _, received, _, _ = socket.recv_fds(client, 16, 1)
            except OSError:
                received = []
        if received:
            os.dup2(received[0], API_FD)
            os.set_inheritable(API_FD, True)
            return
        time.sleep(PAUSE_SECONDS)
    raise TimeoutError(f"nobody hands on the API's port at {path(home)}")


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
