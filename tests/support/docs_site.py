"""The docs site as a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from readmit.settings import ROOT, StackSettings
from tests.support.services import end, environment, free_port, wait_until


@contextmanager
def running(settings: StackSettings) -> Iterator[str]:
    """Run the docs site; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "readmit.docs_site.server"]
    env = environment(settings.model_copy(update={"docs_port": port}))
    process = subprocess.Popen(command, env=env, cwd=ROOT)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: is_alive(address), "the docs site does not answer")
        yield address
    finally:
        end(process)


def is_alive(address: str) -> bool:
    """Return whether the process behind an address answers."""
    try:
        return httpx.get(f"{address}/livez", trust_env=False).is_success
    except httpx.TransportError:
        return False
