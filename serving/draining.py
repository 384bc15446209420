"""Draining: before a pod ends, every answer closes its connection, so that callers go elsewhere.

Kubernetes takes the pod out of the Service for new connections only. A request on a kept connection
would meet a process that closes it at the same moment, and be lost. The pod's preStop hook sends
SIGUSR1, then waits.
"""

import asyncio
import signal
import threading


class Draining:
    """`headers` are added to every answer: none until the process drains."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []

    def listen(self) -> None:
        """Begin at SIGUSR1, which only the main thread can receive."""
        if threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.begin)

    def begin(self) -> None:
        """Close the connection with every further answer."""
        self.headers = [(b"connection", b"close")]
