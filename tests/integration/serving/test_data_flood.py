"""Floods of `/data/*`: Postgres is shared with Airflow, MLflow and the pipeline.

Each request once had a log-in of its own, up to 40 at a time in a process.
"""

import asyncio
import threading

import httpx
import pytest

from serving import queries
from serving.api_settings import ServingSettings
from serving.app import create_app
from tests.support import raw
from tests.support.serving import FolderSource, read

N_CALLERS = 400
PATHS = (
    "/data/batches",
    "/data/quarantine",
    "/data/freshness",
    "/data/monitoring",
    "/data/outcomes",
)
SESSIONS = "select count(*) from pg_stat_activity where usename = 'reader'"
SLOW_VIEW = """
    create schema if not exists quarantine;
    create view quarantine.encounters as select 1 as n, pg_sleep(1)::text as slept;
    grant usage on schema quarantine to reader;
    grant select on quarantine.encounters to reader;
"""


class SessionCount(threading.Thread):
    """Counts the sessions of `reader` until it is stopped, and keeps the largest number."""

    def __init__(self, stack):
        super().__init__()
        self.largest = 0
        self._stack = stack
        self._stop_counting = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._stop_counting.set()
        self.join()

    def run(self):
        while not self._stop_counting.wait(0.05):
            ((n_sessions,),) = raw.query(self._stack, self._stack.clean_database, SESSIONS)
            self.largest = max(self.largest, n_sessions)


async def flood(app):
    """Return the statuses of many requests at once, and whether the rest answered meanwhile."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", timeout=60
    ) as client:
        calls = [client.get(PATHS[n % len(PATHS)]) for n in range(N_CALLERS)]
        answers = asyncio.gather(*calls)
        await asyncio.sleep(0.2)
        metrics = await asyncio.wait_for(client.get("/metrics"), 5)
        statuses = {answer.status_code for answer in await answers}
        bodies = {answer.content for answer in await answers}
    return statuses, bodies, metrics.status_code


def test_a_flood_takes_two_connections(tmp_path):
    stack = raw.fresh(tmp_path)
    raw.query(stack, stack.clean_database, SLOW_VIEW)
    settings = ServingSettings(**stack.model_dump())
    app = create_app(settings, source=FolderSource(), read=read)
    with SessionCount(stack) as sessions:
        statuses, bodies, metrics_status = asyncio.run(flood(app))
    assert (statuses, metrics_status) == ({200}, 200)
    assert len(bodies) == len(PATHS)  # callers that ask together share a result
    assert 1 <= sessions.largest <= queries.MAX_CONNECTIONS


def test_a_result_is_used_for_seconds_only(tmp_path, monkeypatch):
    stack = raw.fresh(tmp_path)
    settings = ServingSettings(**stack.model_dump())
    app = create_app(settings, source=FolderSource(), read=read)

    async def n_published_twice():
        transport = httpx.ASGITransport(app)
        counts = []
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for _ in range(3):
                answer = (await client.get("/data/freshness")).json()
                counts.append(answer["freshness"][0]["n_published"])
                raw.query(
                    stack,
                    stack.clean_database,
                    "insert into ops.published_batches (build_id, batch_id, kind)"
                    " values (%s, %s, 'batch')",
                    f"batch {len(counts)}",
                    f"batch {len(counts)}",
                )
                if len(counts) == 2:
                    monkeypatch.setattr(queries, "CACHE_SECONDS", -1.0)
        return counts

    assert asyncio.run(n_published_twice()) == [0, 0, 2]


@pytest.mark.parametrize("role", ["reader", "serving"])
def test_the_roles_of_the_api_cannot_take_all_connections(role, tmp_path):
    stack = raw.fresh(tmp_path)
    ((limit, of_all),) = raw.query(
        stack,
        stack.clean_database,
        "select rolconnlimit, current_setting('max_connections')::int from pg_roles"
        " where rolname = %s",
        role,
    )
    assert 0 < limit < of_all
