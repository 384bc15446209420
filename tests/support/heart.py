"""Asks the API whether it is alive while something else happens to it."""

import threading
import time

import httpx


class Heart:
    """Asks `/livez` ten times a second and keeps the longest wait."""

    def __init__(self, url: str) -> None:
        self.longest = 0.0
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat)

    def __enter__(self) -> "Heart":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60, trust_env=False) as client:
            while not self._stop.wait(0.1):
                began = time.monotonic()
                assert client.get("/livez").status_code == 200
                self.longest = max(self.longest, time.monotonic() - began)
