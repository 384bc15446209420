"""Each role has the rights of the table of roles in docs/security.md, and no others."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import psycopg2
import pytest
from psycopg2 import errors
from pydantic import SecretStr

from readmit import db
from readmit.ops.bootstrap import bootstrap, set_password
from readmit.settings import StackSettings
from tests.support import raw
from tests.support.services import services, wait_until

BATCH = (
    "insert into landing.batches"
    " (batch_id, split, ordinal, n_rows, source_sha256, data_source, status)"
    " values ('b-{0}', 'train', 1, 1, 's', 'file', 'loaded')"
)
PREDICTION = (
    "insert into ops.predictions"
    " (request_id, predicted_at, model_name, model_version, run_id, contract_hash, features,"
    " probability, risk, history)"
    " values (gen_random_uuid(), now(), 'm', '1', 'r', 'h', '{}', 0.5, 'low', 'given')"
)
LOOKUP = (
    "insert into ops.history_lookups (caller, patient_nbr, request_id, outcome)"
    " values ('ward', 7, gen_random_uuid(), 'found')"
)
PROMOTION = (
    "insert into ops.promotions (decision, model_name, metric, actor, reason)"
    " values ('keep', 'readmission', 'ap', 'a', 'r')"
)
CORRECTION = (
    "insert into ops.corrections (batch_id, source_row, released_by, build_id)"
    " values ('b', 1, 'me', 'b+r1')"
)
BUILD = (
    "insert into ops.current_build (build_id, batch_id, kind)"
    " values ('b', 'b', 'batch') on conflict do nothing"
)
TEMPORARY_TABLE = "create temporary table t (i int)"
PUBLISH = "select ops.publish_build('{0}', '{0}', 'batch', 1, 1, 0, 0)"
ROW = "insert into landing.encounters (_batch_id, _source_row) values ('b', 1)"

MAY: list[tuple[db.Role, str, str]] = [
    ("loader", "raw", BATCH.format("loader")),
    (
        "loader",
        "raw",
        "update landing.batches set status = 'rejected', reason = 'r' where batch_id = 'nothing'",
    ),
    ("loader", "raw", "insert into landing.encounters (_batch_id, _source_row) values ('b', 2)"),
    ("loader", "raw", "delete from landing.claims"),
    ("transformer", "clean", "select count(*) from raw.encounters"),
    ("transformer", "clean", "select count(*) from raw.batches"),
    (
        "transformer",
        "clean",
        "select count(*) from ops.corrections, ops.current_build, ops.published_batches",
    ),
    ("transformer", "clean", "create table staging.mine (i int)"),
    ("transformer", "clean", "create table quarantine.mine (i int)"),
    ("transformer", "clean", "create temporary table t (i int)"),
    ("publisher", "clean", BUILD),
    ("publisher", "clean", PROMOTION),
    ("publisher", "clean", CORRECTION),
    ("publisher", "clean", PUBLISH.format("published")),
    ("publisher", "clean", "select count(*) from raw.batches"),
    ("trainer", "clean", "select * from marts.made"),
    ("serving", "clean", PREDICTION),
    ("serving", "clean", LOOKUP),
    ("reader", "clean", "select count(*) from ops.history_lookups"),
    ("reader", "clean", "select * from marts.made"),
    ("reader", "clean", "select * from quarantine.kept"),
    ("reader", "clean", "select count(*) from ops.predictions"),
    ("reader", "clean", "select count(*) from ops.promotions"),
    ("reader", "clean", "select count(*) from raw.batches"),
    ("reader", "raw", "select count(*) from landing.overview"),
    ("mlflow", "mlflow", "create table public.mine (i int)"),
    ("mlflow", "mlflow", "create temporary table t (i int)"),
    ("airflow", "airflow", "create table public.mine (i int)"),
]
MAY_NOT: list[tuple[db.Role, str, str]] = [
    ("loader", "raw", "update landing.encounters set race = 'x'"),
    ("loader", "raw", "delete from landing.encounters"),
    ("loader", "raw", "truncate landing.encounters"),
    ("loader", "raw", "delete from landing.batches"),
    ("loader", "raw", "update landing.batches set content_sha256 = 'x'"),
    ("loader", "raw", "create table landing.mine (i int)"),
    ("loader", "raw", "create table public.mine (i int)"),
    ("loader", "clean", "select 1"),
    ("loader", "mlflow", "select 1"),
    ("transformer", "raw", ROW),
    ("transformer", "raw", "update landing.batches set status = 'published'"),
    ("transformer", "clean", "insert into raw.encounters (_batch_id) values ('b')"),
    ("transformer", "clean", PUBLISH.format("no")),
    (
        "transformer",
        "clean",
        "insert into ops.published_batches (build_id, batch_id, kind) values ('x', 'x', 'batch')",
    ),
    ("transformer", "clean", PROMOTION),
    (
        "publisher",
        "clean",
        "insert into ops.published_batches (build_id, batch_id, kind) values ('x', 'x', 'batch')",
    ),
    *product(("publisher", "trainer", "serving", "reader"), ("clean",), (TEMPORARY_TABLE,)),
    *product(("loader", "reader"), ("raw",), (TEMPORARY_TABLE,)),
    *product(
        ("loader", "transformer", "publisher", "mlflow", "airflow"),
        ("postgres", "template1"),
        ("select 1",),
    ),
    ("publisher", "clean", "update ops.promotions set decision = 'keep'"),
    ("publisher", "clean", "delete from ops.corrections"),
    ("publisher", "clean", "select * from marts.made"),
    ("publisher", "clean", "select * from quarantine.kept"),
    ("publisher", "clean", "select * from intermediate.inner_working"),
    ("publisher", "clean", "delete from marts.made"),
    ("publisher", "clean", "delete from quarantine.kept"),
    ("publisher", "raw", "update landing.batches set status = 'published'"),
    ("trainer", "clean", "insert into marts.made values (2)"),
    ("trainer", "clean", "select * from quarantine.kept"),
    ("trainer", "clean", "select * from ops.promotions"),
    ("trainer", "clean", "select * from intermediate.inner_working"),
    ("trainer", "raw", "select 1"),
    ("serving", "clean", "select * from ops.predictions"),
    ("serving", "clean", "delete from ops.predictions"),
    ("serving", "clean", "select * from marts.made"),
    ("serving", "clean", PROMOTION),
    ("serving", "raw", "select 1"),
    *((role, "clean", LOOKUP) for role in ("transformer", "publisher", "trainer", "reader")),
    ("serving", "clean", "select * from ops.history_lookups"),
    ("serving", "clean", "update ops.history_lookups set caller = 'x'"),
    ("serving", "clean", "delete from ops.history_lookups"),
    ("serving", "clean", "truncate ops.history_lookups"),
    ("reader", "clean", PREDICTION),
    ("reader", "clean", PROMOTION),
    ("reader", "clean", "select * from raw.encounters"),
    ("reader", "raw", "select * from landing.encounters"),
    ("reader", "raw", BATCH.format("reader")),
    ("reader", "clean", "delete from marts.made"),
    ("mlflow", "clean", "select 1"),
    ("airflow", "mlflow", "select 1"),
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackSettings]:
    settings = raw.fresh(tmp_path_factory.mktemp("home"))
    tables = "create table marts.made (i int); create table quarantine.kept (i int);"
    raw.query(settings, settings.clean_database, tables, role="transformer")
    raw.query(
        settings,
        settings.clean_database,
        "create table intermediate.inner_working (i int)",
        role="transformer",
    )
    yield settings
    # MLflow takes a database with a table for one of its own.
    for name in ("mlflow", "airflow"):
        drop = f"drop table if exists public.mine_{settings.raw_database}"
        raw.query(settings, name, drop, role="postgres")


def run(settings: StackSettings, role: db.Role, database: str, statement: str) -> None:
    names = {"raw": settings.raw_database, "clean": settings.clean_database}
    raw.query(settings, names.get(database, database), statement, role=role)


@pytest.mark.parametrize(("role", "database", "statement"), MAY)
def test_role_may(settings: StackSettings, role: db.Role, database: str, statement: str) -> None:
    run(
        settings,
        role,
        database,
        statement.replace("public.mine", f"public.mine_{settings.raw_database}"),
    )


@pytest.mark.parametrize(("role", "database", "statement"), MAY_NOT)
def test_role_may_not(
    settings: StackSettings, role: db.Role, database: str, statement: str
) -> None:
    refusals = (
        errors.InsufficientPrivilege,
        errors.ObjectNotInPrerequisiteState,
        psycopg2.OperationalError,
    )
    with pytest.raises(refusals, match=r"permission denied|does not allow inserts") as refusal:
        run(settings, role, database, statement)
    assert "password" not in str(refusal.value)


@pytest.mark.parametrize("table", ["landing.encounters"])
@pytest.mark.parametrize("change", ["update {} set race = 'x'", "delete from {}", "truncate {}"])
def test_raw_is_append_only_even_for_its_owner(
    settings: StackSettings, table: str, change: str
) -> None:
    with pytest.raises(psycopg2.errors.RaiseException, match="append-only"):
        run(settings, "postgres", "raw", change.format(table))


@pytest.mark.parametrize("table", ["ops.promotions", "ops.predictions", "ops.history_lookups"])
def test_records_of_decisions_are_append_only_even_for_their_owner(
    settings: StackSettings, table: str
) -> None:
    with pytest.raises(psycopg2.errors.RaiseException, match="append-only"):
        run(settings, "postgres", "clean", f"delete from {table}")


def test_nobody_logs_in_without_the_password(settings: StackSettings) -> None:
    wrong = settings.model_copy(update={"reader_password": settings.loader_password})
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        db.connect("reader", settings.clean_database, wrong)


def test_a_password_that_cannot_be_set_is_not_in_the_servers_log(settings: StackSettings) -> None:
    """The server logs statements that fail: here two set-ups change the same role."""
    changed = settings.model_copy(update={"mlflow_password": SecretStr("never-in-a-log")})
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ~ %s"
    log = services()["readmit_home"] / "postgres.log"
    with (
        ThreadPoolExecutor(1) as thread,
        db.transaction("postgres", "postgres", settings) as other,
        other.cursor() as cur,
    ):
        cur.execute("alter role mlflow connection limit 50")
        change = thread.submit(set_password, "mlflow", changed)
        wait_until(
            lambda: raw.query(settings, "postgres", waiting, "^alter role") == [(1,)],
            "the other set-up waits",
        )
        other.commit()
        with pytest.raises(psycopg2.errors.InternalError_, match="tuple concurrently updated"):
            change.result(30)
    raw.query(settings, "postgres", "alter role mlflow connection limit -1")
    text = log.read_text(encoding="utf-8")
    assert "tuple concurrently updated" in text
    assert "never-in-a-log" not in text


def test_missing_password_names_the_variable(settings: StackSettings) -> None:
    without = settings.model_copy(update={"reader_password": None})
    with pytest.raises(LookupError, match="READMIT_READER_PASSWORD is not set"):
        db.connect("reader", settings.clean_database, without)


def test_second_set_up_changes_nothing(settings: StackSettings) -> None:
    facts = (
        "select array_agg((rolname, rolpassword)::text order by rolname) from pg_authid union all"
        " select array_agg((relname, relacl)::text order by relname) from pg_class"
        " where relnamespace in ('ops'::regnamespace, 'marts'::regnamespace)"
    )
    before = raw.query(settings, settings.clean_database, facts)
    bootstrap(settings)
    assert raw.query(settings, settings.clean_database, facts) == before


def test_changed_password_is_applied(tmp_path: object, settings: StackSettings) -> None:
    changed = settings.model_copy(
        update={"mlflow_password": type(settings.reader_password)("another")}
    )
    bootstrap(changed)
    db.connect("mlflow", "mlflow", changed).close()
    bootstrap(settings)
