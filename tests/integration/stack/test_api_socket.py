"""One process of the API follows another on the same port, and no request is refused meanwhile."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import pytest

from readmit.settings import ROOT
from tests.support import services

# What `stack.run_program` does for the API, with an application that starts slowly and answers with
# its process id.
API = """
import asyncio, os, sys, time
from pathlib import Path
import uvicorn
from stack import api_socket
from stack.programs import API_FD

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await asyncio.sleep(1)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return await send({"type": "lifespan.shutdown.complete"})
    client = (scope["client"] or ("nobody",))[0]
    headers = [(b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": f"{os.getpid()} {client}".encode()})

api_socket.receive(Path(sys.argv[1]))
uvicorn.run(app, fd=API_FD, log_level="warning", http="serving.protocol:Protocol")
"""


@pytest.fixture
def home():
    """Return a state folder whose name is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="readmit-socket-") as folder:
        yield Path(folder)


@pytest.fixture
def start():
    """Return a function that starts a process; all end with the test."""
    started = []

    def start_process(*command: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        started.append(process)
        return process

    yield start_process
    for process in started:
        services.end(process)


def ask(url: str, answers: list[str], stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            # Those that come between the two processes wait until the new one has started.
            answers.append(httpx.get(url, timeout=60).raise_for_status().text)
        except httpx.HTTPError as error:
            answers.append(f"failed: {error!r}")
        time.sleep(0.02)


def holder(port: int, home: Path) -> str:
    """Return a program that holds the API's port for the processes that ask for it."""
    return (
        "from pathlib import Path; from stack import api_socket;"
        f" api_socket.serve({port}, Path({str(home)!r}))"
    )


def test_nothing_is_refused_while_the_api_is_replaced(home: Path, start) -> None:
    port = services.free_port()
    start("-c", holder(port, home))
    before = start("-c", API, str(home))
    url = f"http://127.0.0.1:{port}/"
    services.wait_until(lambda: answers(url), "no answer")
    texts: list[str] = []
    stop = threading.Event()
    threads = [threading.Thread(target=ask, args=(url, texts, stop)) for _ in range(3)]
    for thread in threads:
        thread.start()
    services.wait_until(lambda: len(texts) > 10, "the old one does not answer", pause=0.02)
    before.send_signal(signal.SIGTERM)
    before.wait(30)
    after = start("-c", API, str(home))
    services.wait_until(lambda: f"{after.pid} 127.0.0.1" in texts, "the new one does not answer")
    stop.set()
    for thread in threads:
        thread.join()
    assert set(texts) == {f"{before.pid} 127.0.0.1", f"{after.pid} 127.0.0.1"}


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).is_success
    except httpx.HTTPError:
        return False


def test_only_this_user_gets_the_port(home: Path, start) -> None:
    port = services.free_port()
    start("-c", holder(port, home))
    path = home / "api.sock"
    services.wait_until(path.exists, "no socket")
    services.wait_until(lambda: path.stat().st_mode & 0o777 == 0o600, "others may use the socket")
