"""Before a pod ends: every answer closes its connection, so that the caller's next one leads to another pod.

Kubernetes takes the pod out of the Service for new connections only; a request on a connection that is kept would meet
a process that closes it at the same moment, and be lost. The pod's preStop sends SIGUSR1, then waits.
"""

import asyncio
import signal
import threading


class Draining:
    """What answers say about their connection."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []

    def listen(self) -> None:
        """Begin at SIGUSR1. Signals reach the main thread only: an app that runs in another one is never drained."""
        if threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.begin)

    def begin(self) -> None:
        """Have every further answer close its connection."""
        self.headers = [(b"connection", b"close")]
