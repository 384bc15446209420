"""Read-only queries of the data with the role `reader`.

However many callers ask, a process holds two connections at most and runs a query once in five
seconds: Postgres is shared with Airflow, MLflow and the pipeline.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import orjson
import psycopg2
from fastapi import Response
from psycopg2.extras import RealDictCursor

from readmit import db
from readmit.client.answer_types import ProblemCode, PromotionDecision
from serving.api_settings import ServingSettings
from serving.problems import Problem

MAX_CONNECTIONS = 2
CACHE_SECONDS = 5.0


class Query(NamedTuple):
    """A query, and the name of its rows in the answer."""

    name: str
    statement: str
    is_raw: bool = False  # on the database `raw`, else on `clean`


class QueryResult(NamedTuple):
    """The body of an answer or the reason why there is none, and when it was read."""

    body: bytes | Problem
    read_at: float  # of time.monotonic()


# The signed statements stay inside: nobody needs them to read the history.
PROMOTIONS = Query(
    "promotions",
    f"select {', '.join(PromotionDecision.__annotations__)}"  # noqa: S608 (constants)
    " from ops.promotions order by promotion_id desc limit 500",
)
BATCHES = Query(
    "batches",
    "select * from landing.batches order by loaded_at desc nulls last, batch_id limit 2000",
    is_raw=True,
)
# A file has its result from the end of the run that read it.
INBOX = Query(
    "files",
    "select name, file_sha256, received_at,"
    " coalesce(result ->> 'state', case when reason is null then 'waiting' else 'refused' end)"
    " as state, coalesce(result ->> 'reason', reason) as reason,"
    " (result ->> 'n_rows')::bigint as n_rows, (result ->> 'n_known')::bigint as n_known,"
    " (result ->> 'n_changed')::bigint as n_changed"
    " from landing.inbox order by received_at desc, name limit 500",
    is_raw=True,
)
QUARANTINE = Query("rows", "select * from quarantine.encounters limit 500")
MONITORING = Query("reports", "select * from ops.monitor_reports order by report_id desc limit 100")
FRESHNESS = Query(
    "freshness",
    "select max(published_at) as published_at, count(*) as n_published,"
    " extract(epoch from clock_timestamp() - max(published_at))::double precision as age_seconds"
    " from ops.published_batches",
)

OUTCOMES = Query(
    "outcomes",
    "select _batch_id as batch_id, count(*) as n_stays,"
    " count(*) filter (where is_readmitted_30d) as n_readmitted"
    " from marts.fct_encounter_features group by _batch_id order by _batch_id limit 2000",
)


class DataQueries:
    """Answers the queries of all callers; those that come at the same time share a result."""

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(MAX_CONNECTIONS, "data")
        self._results: dict[Query, asyncio.Future[QueryResult]] = {}

    def stop(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def answer(self, query: Query) -> Response:
        """Return `{name: rows}`, at most some seconds old.

        Raises:
            Problem: 503 with the reason when the database does not answer.
        """
        result = self._results.get(query)
        is_stale = False
        if result is not None and result.done():
            has_failed = result.cancelled() or result.exception() is not None
            is_stale = has_failed or time.monotonic() - result.result().read_at > CACHE_SECONDS
        if result is None or is_stale:
            loop = asyncio.get_running_loop()
            result = loop.run_in_executor(self._threads, self._read, query)
            self._results[query] = result
        # Shielded: others wait for the same result when this caller hangs up.
        body = (await asyncio.shield(result)).body
        if isinstance(body, Problem):
            raise body.with_traceback(None)
        return Response(body, media_type="application/json")

    def _read(self, query: Query) -> QueryResult:
        database = self._settings.clean_database
        if query.is_raw:
            database = self._settings.raw_database
        try:
            with (
                db.transaction("reader", database, self._settings) as connection,
                connection.cursor(cursor_factory=RealDictCursor) as cur,
            ):
                cur.execute("set local statement_timeout = '5s'")
                cur.execute(query.statement)
                rows = [dict(row) for row in cur.fetchall()]
        except psycopg2.errors.UndefinedTable:
            rows = []  # nothing was built yet
        except (psycopg2.Error, LookupError) as error:
            code = ProblemCode.DATABASE_REFUSED
            if isinstance(error, psycopg2.OperationalError):
                code = ProblemCode.DATABASE_UNREACHABLE
            problem = Problem(code, headers={"Retry-After": "10"}, error=type(error).__name__)
            return QueryResult(problem, time.monotonic())
        return QueryResult(orjson.dumps({query.name: rows}, default=str), time.monotonic())
