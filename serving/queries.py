"""Read-only queries of the data with the role `reader`."""

import orjson
import psycopg2
from fastapi import Response
from psycopg2.extras import RealDictCursor

from readmit import db
from readmit.client.answer_types import ProblemCode, PromotionDecision
from serving.api_settings import ServingSettings
from serving.problems import Problem

# The signed statements stay inside: nobody needs them to read the history.
PROMOTIONS = (
    f"select {', '.join(PromotionDecision.__annotations__)}"  # noqa: S608 (constants)
    " from ops.promotions order by promotion_id desc limit 500"
)
BATCHES = "select * from landing.batches order by loaded_at desc nulls last, batch_id limit 2000"
QUARANTINE = "select * from quarantine.encounters limit 500"
MONITORING = "select * from ops.monitor_reports order by report_id desc limit 100"
FRESHNESS = (
    "select max(published_at) as published_at, count(*) as n_published,"
    " extract(epoch from clock_timestamp() - max(published_at))::double precision as age_seconds"
    " from ops.published_batches"
)


def answer(
    settings: ServingSettings, name: str, query: str, *, database: str | None = None
) -> Response:
    """Return `{name: rows}`.

    Raises:
        Problem: 503 with the reason when the database does not answer.
    """
    try:
        with (
            db.transaction("reader", database or settings.clean_database, settings) as connection,
            connection.cursor(cursor_factory=RealDictCursor) as cur,
        ):
            cur.execute("set local statement_timeout = '5s'")
            cur.execute(query)
            rows = [dict(row) for row in cur.fetchall()]
    except psycopg2.errors.UndefinedTable:
        rows = []  # nothing was built yet
    except (psycopg2.Error, LookupError) as error:
        code = ProblemCode.DATABASE_REFUSED
        if isinstance(error, psycopg2.OperationalError):
            code = ProblemCode.DATABASE_UNREACHABLE
        raise Problem(code, headers={"Retry-After": "10"}, error=type(error).__name__) from error
    return Response(orjson.dumps({name: rows}, default=str), media_type="application/json")
