"""`api_vs_noop`: requests/s of /predict over a route with the same models and middleware that computes nothing.

The no-op route reads and validates the same body and builds an answer of the same shape; it looks nothing up, scores
nothing and logs nothing. Server and generator have a process each; three alternated repeats, medians.
"""

import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from contextlib import redirect_stderr, suppress
from pathlib import Path

import httpx
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

from bench.figure import CannotMeasure, Figure
from serving.middleware import Edge
from serving.state import served


def with_noop(app: FastAPI) -> FastAPI:
    """Return the app with POST /noop."""

    @app.post("/noop")
    async def noop(request: Request) -> Response:
        model = served(request)
        model.requests.from_json(await request.body())
        said = {"probability": 0.5, "risk": "high", "threshold": model.threshold, "history": "assumed_first_stay"}
        said |= {"model": model.identity, "request_id": request.state.request_id}
        return Response(orjson.dumps(said), media_type="application/json")

    assert app.user_middleware[0].cls is Edge
    return app


def _serve(port: int, home: str) -> None:
    from bench.model_api import create

    os.sched_setaffinity(0, {0})
    os.environ["READMIT_HOME"] = home
    with open(os.devnull, "w") as quiet, redirect_stderr(quiet):  # its log lines cost what they cost, unseen
        uvicorn.run(create(), host="127.0.0.1", port=port, access_log=False, log_level="error")


async def _worker(port: int, request: bytes, until: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    done = 0
    while time.perf_counter() < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        done += 1
    writer.close()
    return done


def rate(port: int, path: str, body: bytes, seconds: float = 3.0) -> float:
    """Return requests/s with 16 connections; any answer but 200 ends the run."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"

    async def run() -> int:
        until = time.perf_counter() + seconds
        return sum(await asyncio.gather(*(_worker(port, head.encode() + body, until) for _ in range(16))))

    return asyncio.run(run()) / seconds


def payload() -> tuple[bytes, str]:
    """Return the body that is sent, and which model it is for: READMIT_BENCH_MODEL's (a folder) or a stand-in."""
    if folder := os.environ.get("READMIT_BENCH_MODEL"):
        rows = json.loads((Path(folder) / "examples.json").read_text(encoding="utf-8"))["rows"]
        return json.dumps(rows[len(rows) // 2]).encode(), "trained model"
    from tests.support.serving import ROW

    return json.dumps(ROW).encode(), "stand-in model"


def measure() -> list[Figure]:
    """Measure both routes in turn."""
    body, model = payload()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found: dict[str, list[float]] = {path: [] for path in ("/predict", "/noop")}
    ours = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as home:
        server = multiprocessing.get_context("spawn").Process(target=_serve, args=(port, home), daemon=True)
        server.start()
        try:
            os.sched_setaffinity(0, {max(ours)})
            _wait(port)
            for _ in range(3):
                for path, rates in found.items():
                    rates.append(rate(port, path, body))
        finally:
            os.sched_setaffinity(0, ours)
            server.terminate()
            server.join()
    predict, noop = (statistics.median(found[path]) for path in ("/predict", "/noop"))
    detail = f"/predict {predict:.0f}/s, /noop {noop:.0f}/s, {model}, 16 connections, medians of 3"
    return [Figure("api_vs_noop", predict / noop, "ratio", ">= 0.75", detail)]


def _wait(port: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2, trust_env=False).is_success:
                return
        if time.monotonic() > deadline:
            raise CannotMeasure(f"the API is not ready after {seconds:.0f} s")
        time.sleep(0.2)


MEASURES = {("api_vs_noop",): measure}
