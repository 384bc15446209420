"""Hot swaps in real worker processes while a thousand requests are in flight: none of them
fails.
"""

import asyncio
import itertools
import json

import httpx

from tests.support.api import metric, running
from tests.support.metrics_app import shift_of
from tests.support.serving import ROW, StandIn

WORKERS = 2
IN_FLIGHT = 1000
BODY = json.dumps(ROW).encode()
HEAD = (
    "POST /predict HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\n"
    f"Connection: close\r\nContent-Length: {len(BODY)}\r\n\r\n"
).encode()


async def held(port):
    """Open a request whose second half is yet to come: its worker has begun to answer it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + BODY[:10])
    await writer.drain()
    return reader, writer


async def finished(reader, writer):
    writer.write(BODY[10:])
    await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b" ", 2)[1], json.loads(body)


async def until_metric(url, name, value):
    """Wait until a metric of the API has reached a value."""
    async with asyncio.timeout(60):
        while await asyncio.to_thread(metric, url, name) < value:
            await asyncio.sleep(0.1)


async def send_requests(url, answers, stop):
    """Send one request after the other until `stop` is set, and add their answers to `answers`."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        while not stop.is_set():
            response = await client.post(
                f"{url}/predict", content=BODY, headers={"content-type": "application/json"}
            )
            answers.append((str(response.status_code).encode(), response.json()))


async def swapped_twice(url, home):
    """Hold requests open over two swaps of every worker, while other requests come and go."""
    port = int(url.rpartition(":")[2])
    stop = asyncio.Event()
    others = []
    tasks = [asyncio.create_task(send_requests(url, others, stop)) for _ in range(8)]
    connections = [await held(port) for _ in range(IN_FLIGHT)]
    await until_metric(url, "readmit_requests_in_flight", IN_FLIGHT)
    for number in (2, 3):
        (home / "next").write_text(str(number))
        (home / "next").rename(home / "production")
        swaps = WORKERS * (number - 1)
        await until_metric(url, "readmit_model_swaps_total", swaps)
        assert await asyncio.to_thread(metric, url, "readmit_model_swaps_total") == swaps
    answers = await asyncio.gather(*itertools.starmap(finished, connections))
    await asyncio.sleep(0.5)
    stop.set()
    await asyncio.gather(*tasks)
    return answers, others


def test_a_thousand_requests_in_flight_over_two_swaps_of_two_workers_all_get_their_answer(tmp_path):
    with running(tmp_path, WORKERS, READMIT_REGISTRY_POLL_SECONDS="0.2") as (url, _):
        answers, others = asyncio.run(swapped_twice(url, tmp_path))
    assert len(answers) == IN_FLIGHT
    assert {status for status, _ in answers + others} == {b"200"}
    assert {prediction["model"]["version"] for _, prediction in answers} == {"1"}
    assert {prediction["model"]["version"] for _, prediction in others} == {"1", "2", "3"}
    row = ROW | {"n_prior_stays": 0}
    right = {number: StandIn(shift_of(number)).predict_one(row) for number in "123"}
    for _, prediction in answers + others:
        assert prediction["probability"] == right[prediction["model"]["version"]]
