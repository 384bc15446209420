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
import sys
import tempfile
import time
from pathlib import Path

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

from serving.app import create_app
from serving.middleware import Edge
from serving.state import served

GOAL = 0.75


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


def _serve(port: int, home: str, stand_in: bool) -> None:
    os.sched_setaffinity(0, {0})
    if stand_in:
        from tests.support.serving import FolderSource, read, settings

        source = FolderSource()
        source.promote(1)
        app = create_app(settings(Path(home)), source=source, read=read)
    else:
        app = create_app()
    uvicorn.run(with_noop(app), host="127.0.0.1", port=port, access_log=False, log_level="error")


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


def measure(body: bytes, *, stand_in: bool) -> dict[str, object]:
    """Return the entry of build/bench.json."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        server = multiprocessing.get_context("spawn").Process(target=_serve, args=(port, home, stand_in), daemon=True)
        server.start()
        os.sched_setaffinity(0, {1})
        time.sleep(4)
        try:
            found = {path: [] for path in ("/predict", "/noop")}
            for _ in range(3):
                for path, rates in found.items():
                    rates.append(rate(port, path, body))
        finally:
            server.terminate()
            server.join()
    predict, noop = (statistics.median(found[path]) for path in ("/predict", "/noop"))
    detail = {"predict_per_second": round(predict), "noop_per_second": round(noop), "stand_in_model": stand_in}
    ratio = predict / noop
    return {"name": "api_vs_noop", "figure": ratio, "unit": "ratio", "goal": f">= {GOAL}", "holds": ratio >= GOAL,
            "detail": detail}  # fmt: skip


if __name__ == "__main__":
    from tests.support.serving import ROW

    sys.stdout.write(json.dumps(measure(json.dumps(ROW).encode(), stand_in=True), indent=1) + "\n")
