"""Migrations.

A stack without versions reaches the newest one, and an interrupted migration leaves the version
before it.
"""

import gzip
import logging
import os
import signal
import subprocess
import sys
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg2
import pytest

from readmit import db
from readmit.batches import claims, ledger
from readmit.intake.layout import LANDING_COLUMNS
from readmit.ops import schema_versions
from readmit.ops.backup_folder import BackupFailed
from readmit.ops.bootstrap import bootstrap
from readmit.ops.schema_versions import MigrationFailed, SchemaTooNew
from readmit.settings import ROOT, StackSettings
from serving.prediction_log import LoggedPrediction
from stack import backups, foreign_tables, set_up
from stack.postgres import binary
from stack.progress import Progress
from tests.support import raw
from tests.support.services import environment, fresh, services, wait_until

# Both databases of a stack of commit 9bc2c65, the last one without schema versions: 4 published
# batches, a rejected one, a refused file, a published correction and a waiting one, predictions, a
# promotion, and a run that died with a claim.
DUMPS = Path(__file__).parent / "dumps"
HEADS = {database: schema_versions.versions(database)[-1] for database in schema_versions.SCHEMAS}
# Relations, columns, indexes, constraints, triggers, functions and rights of our schemas.
SHAPE = """
    select format('%s.%s', n.nspname, c.relname), c.relkind::text,
        coalesce((select string_agg(format('%s %s %s %s', a.attname,
            format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)),
            ', ' order by a.attname)
            from pg_attribute as a
            left join pg_attrdef as d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), ''),
        coalesce((select string_agg(pg_get_constraintdef(k.oid), ', '
            order by pg_get_constraintdef(k.oid))
            from pg_constraint as k where k.conrelid = c.oid), ''),
        coalesce((select string_agg(t.tgname, ', ' order by t.tgname) from pg_trigger as t
            where t.tgrelid = c.oid and not t.tgisinternal), ''),
        coalesce((select string_agg(x::text, ', ' order by x::text)
            from unnest(c.relacl) as x), ''),
        case c.relkind when 'v' then pg_get_viewdef(c.oid) else '' end
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname in ('landing', 'ops', 'raw') order by 1
"""
FUNCTIONS = """
    select p.proname, pg_get_functiondef(p.oid), p.proacl::text from pg_proc as p
    inner join pg_namespace as n on n.oid = p.pronamespace
    where n.nspname in ('landing', 'ops') order by 1
"""


def names(settings: StackSettings) -> dict[str, str]:
    return {"raw": settings.raw_database, "clean": settings.clean_database}


def restore_dump(settings: StackSettings) -> None:
    """Put both databases into the state of the dumps."""
    for database, name in names(settings).items():
        raw.query(settings, name, "select 1")  # it exists, empty
        text = gzip.decompress((DUMPS / f"{database}.sql.gz").read_bytes()).decode()
        variables = {"PGPASSWORD": db.password("postgres", settings)}
        server = ["-h", settings.postgres_host, "-p", str(settings.postgres_port), "-U", "postgres"]
        options = ["--quiet", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-d", name]
        subprocess.run(
            [str(binary("psql")), *server, *options],
            input=text,
            env=os.environ | variables,
            text=True,
            check=True,
            capture_output=True,
        )


def without_databases(tmp_path: Path) -> StackSettings:
    """Settings whose two databases exist, empty."""
    suffix = os.urandom(4).hex()
    values = services() | {
        "raw_database": f"raw_{suffix}",
        "clean_database": f"clean_{suffix}",
        "readmit_home": tmp_path,
    }
    settings = StackSettings(**values)
    bootstrap(StackSettings(**services()))  # the roles
    connection = db.connect("postgres", "postgres", settings)
    connection.autocommit = True
    for name in names(settings).values():
        connection.cursor().execute(f"create database {name} template template0")
    connection.close()
    return settings


def version(settings: StackSettings, database: str) -> str:
    schema = schema_versions.SCHEMAS[database]
    statement = f"select version_num from {schema}.alembic_version"
    [(number,)] = raw.query(settings, names(settings)[database], statement)
    return number


def counts(settings: StackSettings) -> dict[str, int]:
    numbers = {}
    statement = (
        "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname not in"
        " ('pg_catalog', 'information_schema') and tablename <> 'alembic_version' order by 1"
    )
    for name in names(settings).values():
        for (table,) in raw.query(settings, name, statement):
            [(numbers[table],)] = raw.query(settings, name, f"select count(*) from {table}")
    return numbers


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory) -> tuple[StackSettings, dict[str, int]]:
    """A stack from before the first version, set up by today's code, and its earlier row counts."""
    settings = without_databases(tmp_path_factory.mktemp("dump"))
    restore_dump(settings)
    rows = counts(settings)
    bootstrap(settings)
    return settings, rows


def test_stack_without_versions_is_upgraded_to_the_newest(upgraded):
    settings, rows = upgraded
    assert {database: version(settings, database) for database in HEADS} == HEADS
    after = counts(settings)
    assert {table: after.get(table) for table in rows} == rows
    assert rows["landing.encounters"] == 257
    assert rows["ops.predictions"] == 20


def test_upgraded_stack_has_the_tables_of_a_new_one(upgraded, tmp_path):
    settings, _ = upgraded
    new = fresh(tmp_path)
    for database in HEADS:
        for statement in (SHAPE, FUNCTIONS):
            expected = raw.query(new, names(new)[database], statement)
            assert raw.query(settings, names(settings)[database], statement) == expected
            assert expected or database == "raw"


def test_upgraded_stack_goes_on(upgraded):
    settings, _ = upgraded
    statuses = Counter(raw.ledger_rows(settings).values())
    assert statuses == {"published": 4, "rejected": 1, "refused": 1}
    ledger.repair(settings)
    # The dead run's claim and its build lock are as old as the dump.
    claimed = "update landing.claims set claimed_at = '2026-11-26'"
    raw.query(settings, settings.raw_database, claimed)
    locked = "update ops.current_build set set_at = '2026-11-26'"
    raw.query(settings, settings.clean_database, locked)
    build = claims.claim("a run after the upgrade", settings)
    assert build.kind == "correction"
    build.begin(settings)
    assert build.count(settings).n_rows > 0
    [(n_rows,)] = raw.query(
        settings,
        settings.clean_database,
        "select count(*) from marts.fct_encounter_features",
        role="trainer",
    )
    assert n_rows > 150


def test_predictions_keep_what_was_said_by_calls(upgraded):
    """0005: older rows say nothing, and an API of the release before goes on logging meanwhile."""
    settings, _ = upgraded
    known = ("calls_per_100", "capacity_risk")
    earlier = [name for name in LoggedPrediction._fields if name not in known]
    values = [str(uuid.uuid4()), "2026-11-27", *"nvrc", "{}", 0.1, "low", 0.2, *"71n", "ward", True]
    n_told = "select count(*), count(calls_per_100), count(capacity_risk) from ops.predictions"
    with closing(db.connect("postgres", settings.clean_database, settings)) as connection:
        cur = connection.cursor()
        cur.execute(n_told)
        assert cur.fetchone() == (20, 0, 0)
        cur.execute("set role serving")
        for columns, row in (
            (earlier, values),
            (LoggedPrediction._fields, [str(uuid.uuid4()), *values[1:], 10, "high"]),
        ):
            marks = ", ".join(["%s"] * len(row))
            statement = f"insert into ops.predictions ({', '.join(columns)}) values ({marks})"
            cur.execute(statement, row)
        cur.execute("reset role")
        cur.execute(n_told)
        assert cur.fetchone() == (22, 1, 1)


def test_raw_has_the_columns_of_the_file(tmp_path):
    settings = fresh(tmp_path)
    statement = "select * from landing.encounters limit 0"
    with db.transaction("loader", settings.raw_database, settings) as connection:
        cur = connection.cursor()
        cur.execute(statement)
        columns = [column.name for column in cur.description]
    assert set(columns) == {*LANDING_COLUMNS, "_batch_id", "_source_row", "_loaded_at"}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the migrations, to add some."""
    for database in HEADS:
        target = tmp_path / "migrations" / database
        target.mkdir(parents=True)
        for path in (schema_versions.FOLDER / database).glob("*.sql"):
            (target / path.name).write_bytes(path.read_bytes())
    return tmp_path / "migrations"


def test_migration_is_logged(tmp_path, folder, caplog, monkeypatch):
    """Alembic's log needs the name of a function; with logging on, no migration ran."""
    # Where MLflow was imported, its handler is the only one.
    monkeypatch.setattr(logging.getLogger("alembic"), "propagate", True)
    settings = fresh(tmp_path)
    (folder / "clean/9001_logged.sql").write_text("create table ops.first_one (x text);")
    with caplog.at_level("INFO"), caplog.at_level("INFO", logger="alembic"):
        schema_versions.migrate(settings, folder)
    assert version(settings, "clean") == "9001"
    assert "9001" in caplog.text


def test_failing_migration_leaves_the_version_before(tmp_path, folder):
    settings = fresh(tmp_path)
    (folder / "clean/9001_right.sql").write_text(
        "create table ops.first_one (x text check (x <> '%'));"
    )
    (folder / "clean/9002_wrong.sql").write_text(
        "create table ops.second_one (x int); insert into ops.second_one select 1 / 0;"
    )
    with pytest.raises(
        MigrationFailed, match=r"migration 9002 of database clean .* \(9001\): division by zero"
    ):
        schema_versions.migrate(settings, folder)
    assert version(settings, "clean") == "9001"
    statement = "select to_regclass('ops.first_one') is null, to_regclass('ops.second_one') is null"
    assert raw.query(settings, settings.clean_database, statement) == [(False, True)]
    (folder / "clean/9002_wrong.sql").write_text("create table ops.second_one (x int);")
    schema_versions.migrate(settings, folder)
    assert version(settings, "clean") == "9002"


def test_newer_schema_is_refused_before_anything_changes(tmp_path, folder):
    settings = fresh(tmp_path)
    (folder / "clean/9001_later.sql").write_text(
        "alter table ops.corrections add column later text;"
    )
    schema_versions.migrate(settings, folder)
    raw.query(settings, settings.raw_database, "delete from landing.alembic_version")
    message = (
        "database clean has the schema version 9001,"
        f" and this code knows 0001 to {HEADS['clean']}: "
    )
    with pytest.raises(SchemaTooNew, match=message):
        bootstrap(settings)
    statement = "select count(*) from landing.alembic_version"
    assert raw.query(settings, settings.raw_database, statement) == [(0,)]
    command = [sys.executable, "-m", "readmit.ops.bootstrap"]
    run = subprocess.run(
        command, env=environment(settings), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stderr.startswith("error: database clean has the schema version 9001")
    assert run.stderr.count("\n") == 1


def test_foreign_tables_follow_their_tables(tmp_path, folder):
    settings = fresh(tmp_path)
    for statement in (
        "alter table landing.sources add column n_erased bigint",
        "alter table landing.sources drop column registered_at",
        "alter table landing.sources alter column n_rows type integer",
    ):
        raw.query(settings, settings.raw_database, statement)
    bootstrap(settings)
    columns = """
        select attname::text, format_type(atttypid, -1) from pg_attribute
        where attrelid = {}::regclass and attnum > 0 and not attisdropped order by 1
    """
    expected = raw.query(settings, settings.raw_database, columns.format("'landing.sources'"))
    assert raw.query(settings, settings.clean_database, columns.format("'raw.sources'")) == expected
    assert ("n_erased", "bigint") in expected
    statement = "select n_erased from raw.sources"
    assert raw.query(settings, settings.clean_database, statement, role="reader") == []


def test_two_set_ups_at_once_apply_each_migration_once(tmp_path, folder):
    settings = fresh(tmp_path)
    (folder / "clean/9001_slow.sql").write_text(
        "create table ops.once (x int); select pg_sleep(1); insert into ops.once values (1);"
    )
    with ThreadPoolExecutor() as pool:
        list(pool.map(schema_versions.migrate, [settings] * 3, [folder] * 3))
    assert raw.query(settings, settings.clean_database, "select count(*) from ops.once") == [(1,)]
    assert version(settings, "clean") == "9001"


PROGRAM = """
import sys
from pathlib import Path
from readmit.ops import schema_versions
from readmit.settings import OperationsSettings
schema_versions.migrate(OperationsSettings(), Path(sys.argv[1]))
"""


def test_killed_migration_leaves_the_version_before(tmp_path, folder):
    settings = fresh(tmp_path)
    path = folder / "clean/9001_long.sql"
    path.write_text("create table ops.half (x int); select pg_sleep(20), 'in the middle';")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)], env=environment(settings), cwd=ROOT
    )
    sleeping = (
        "select 1 from pg_stat_activity where datname = current_database()"
        " and query like '%%in the middle%%' and pid <> pg_backend_pid()"
    )
    wait_until(
        lambda: raw.query(settings, settings.clean_database, sleeping), "the migration does not run"
    )
    process.send_signal(signal.SIGKILL)
    process.wait()
    path.write_text("create table ops.half (x int);")
    # The server may still work on the dead client's statement: this one waits until that is over.
    schema_versions.migrate(settings, folder)
    assert version(settings, "clean") == "9001"
    assert raw.query(settings, settings.clean_database, "select count(*) from ops.half") == [(0,)]


def test_migration_gives_up_on_a_locked_table(tmp_path, folder, monkeypatch):
    settings = fresh(tmp_path)
    monkeypatch.setattr(schema_versions, "LOCK_TIMEOUT", "300ms")
    (folder / "clean/9001_locked.sql").write_text("alter table ops.corrections add column x text;")
    with db.transaction("publisher", settings.clean_database, settings) as holder:
        holder.cursor().execute("select count(*) from ops.corrections")
        with pytest.raises(MigrationFailed, match="lock timeout"):
            schema_versions.migrate(settings, folder)
    schema_versions.migrate(settings, folder)


def test_no_other_role_changes_the_versions(tmp_path):
    settings = fresh(tmp_path)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        raw.query(
            settings, settings.clean_database, "delete from ops.alembic_version", role="publisher"
        )


def test_only_a_stack_with_data_has_something_to_save_before_an_upgrade(tmp_path):
    settings = without_databases(tmp_path)
    assert schema_versions.pending(settings) == []  # no table yet
    restore_dump(settings)
    lacking = schema_versions.pending(settings)
    assert lacking[0] == "raw 0001"
    assert lacking[-1] == f"clean {HEADS['clean']}"
    bootstrap(settings)
    assert schema_versions.pending(settings) == []
    raw.query(settings, settings.raw_database, "delete from landing.alembic_version")
    assert schema_versions.pending(settings)[0] == "raw 0001"
    gone = settings.model_copy(update={"raw_database": "no_such_database"})
    assert schema_versions.pending(gone) == []


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_backup_is_made_before_the_first_migration(is_wanted, tmp_path, monkeypatch):
    settings = without_databases(tmp_path).model_copy(
        update={"readmit_backup_before_upgrade": is_wanted}
    )
    restore_dump(settings)
    saved = []
    waited = []

    def save(settings):
        assert waited  # a backup has what the object store holds
        saved.append(schema_versions.pending(settings))
        return tmp_path

    monkeypatch.setattr(backups, "save", save)
    for _ in range(2):
        set_up._save_before_migrations(settings, Progress(), partial(waited.append, "the store"))
        bootstrap(settings)
    assert len(saved) == len(waited) == is_wanted
    assert not saved or saved[0][0] == "raw 0001"


@pytest.mark.parametrize(
    ("database", "table"),
    [("airflow", "alembic_version"), ("mlflow", "alembic_version_auth")],
)
def test_a_backup_is_made_before_other_tables_change(database, table, tmp_path, monkeypatch):
    """Such a release changed only Airflow's or MLflow's tables: no backup preceded it."""
    settings = without_databases(tmp_path)
    restore_dump(settings)
    bootstrap(settings)
    saved = []
    monkeypatch.setattr(backups, "save", lambda _: saved.append("backup"))
    folders = {(name, versions): folder for name, _, folder, versions in foreign_tables.MIGRATIONS}
    folder = folders[database, table]
    [head] = foreign_tables.heads(database, folder)
    monkeypatch.setattr(foreign_tables, "MIGRATIONS", [(database, database, folder, "of_a_test")])
    raw.query(settings, database, "create table of_a_test (version_num text)", role=database)
    try:
        for version, n_backups in ((head, 0), ("an earlier one", 1)):
            raw.query(settings, database, "insert into of_a_test values (%s)", version)
            set_up._save_before_migrations(settings, Progress(), lambda: None)
            assert len(saved) == n_backups
            raw.query(settings, database, "delete from of_a_test")
    finally:
        raw.query(settings, database, "drop table of_a_test", role=database)


def test_without_a_backup_nothing_is_migrated(tmp_path, monkeypatch):
    settings = without_databases(tmp_path)
    restore_dump(settings)

    def full(_):
        raise BackupFailed("the disk is full")

    monkeypatch.setattr(backups, "save", full)
    with pytest.raises(set_up.SetUpFailed, match="READMIT_BACKUP_BEFORE_UPGRADE=false"):
        set_up.set_up(settings, Progress(), lambda: None)
    assert schema_versions.pending(settings)[0] == "raw 0001"
