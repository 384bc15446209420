"""Bring our tables to the version of this code: numbered SQL files, applied by Alembic.

Each database counts its own versions, in the table `alembic_version` of its schema `landing` or
`ops`. How to add a migration: docs/development.md. Alembic is imported where it is used: that takes
a third of a second of a core, and most commands that import this migrate nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial, update_wrapper
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from readmit import db
from readmit.settings import OperationsSettings

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, MigrationStep
    from alembic.script.base import Script
    from sqlalchemy import Connection

Database = Literal["raw", "clean"]
# The schema with the table of versions.
SCHEMAS: dict[Database, str] = {"raw": "landing", "clean": "ops"}
FOLDER = Path(str(files("readmit.ops"))) / "migrations"
# Advisory lock of the database that is migrated. The lock of the set-up is another connection's:
# when a set-up is killed, the server may still work on the statement of this one.
MIGRATION_LOCK = 7_241_007
# A table that a program holds for longer stops the migration; it does not stop everyone behind it.
LOCK_TIMEOUT = "60s"


class SchemaTooNew(Exception):
    """A database was changed by newer code; the message says how to go on."""


class MigrationFailed(Exception):
    """A migration failed and left the version before; the message names it and the reason."""


def migrate(settings: OperationsSettings, folder: Path = FOLDER) -> None:
    """Apply the migrations that the databases `raw` and `clean` lack, in order.

    Args:
        settings: where Postgres is.
        folder: the migrations of each database, in a folder of its name.

    Raises:
        SchemaTooNew: a database has a version that `folder` lacks; then nothing is changed.
        MigrationFailed: a statement failed; migrations before that one stay applied.
    """
    names: dict[Database, str] = {"raw": settings.raw_database, "clean": settings.clean_database}
    for database, name in names.items():
        with _connect(name, settings) as connection:
            _pending(_context(connection, database, folder), database, folder)
    for database, name in names.items():
        with _connect(name, settings) as connection:
            connection.exec_driver_sql(f"select pg_advisory_lock({MIGRATION_LOCK})")
            connection.exec_driver_sql(f"set lock_timeout = '{LOCK_TIMEOUT}'")
            connection.exec_driver_sql(f"create schema if not exists {SCHEMAS[database]}")
            connection.commit()
            _apply(connection, database, folder)


def has_data(settings: OperationsSettings) -> bool:
    """Return whether our databases exist and know a source file: there is something to lose."""
    names = (settings.raw_database, settings.clean_database)
    with closing(db.connect("postgres", "postgres", settings)) as server, server.cursor() as cur:
        cur.execute("select count(*) from pg_database where datname in %s", (names,))
        if cur.fetchall() != [(len(names),)]:
            return False
    with (
        db.transaction("postgres", settings.raw_database, settings) as raw,
        raw.cursor() as cur,
    ):
        cur.execute("select to_regclass('landing.sources') is not null")
        if cur.fetchall() != [(True,)]:
            return False
        cur.execute("select exists (select from landing.sources)")
        return cur.fetchall() == [(True,)]


def pending(settings: OperationsSettings, folder: Path = FOLDER) -> list[str]:
    """Return the migrations that databases with data lack, as `raw 0003`.

    Raises:
        SchemaTooNew: a database has a version that `folder` lacks.
    """
    if not has_data(settings):
        return []
    names: dict[Database, str] = {"raw": settings.raw_database, "clean": settings.clean_database}
    lacking = []
    for database, name in names.items():
        with _connect(name, settings) as connection:
            n_steps = len(_pending(_context(connection, database, folder), database, folder))
        numbers = versions(database, folder)
        lacking += [f"{database} {number}" for number in numbers[len(numbers) - n_steps :]]
    return lacking


def versions(database: Database, folder: Path = FOLDER) -> list[str]:
    """Return the versions that the files know, oldest first."""
    return [path.name.partition("_")[0] for path in sorted((folder / database).glob("*.sql"))]


def _apply(connection: "Connection", database: Database, folder: Path) -> None:
    from sqlalchemy.exc import DBAPIError

    context = _context(connection, database, folder)
    try:
        with context.begin_transaction():
            context.run_migrations(connection=connection)
    except DBAPIError as error:
        connection.rollback()
        version = context.get_current_revision()
        pending = [number for number in versions(database, folder) if number > (version or "")]
        raise MigrationFailed(
            f"migration {pending[0]} of database {database} failed and left the version before"
            f" ({version or 'none'}): {str(error.orig).strip()}. Repair the cause and repeat this,"
            " or go back to the release before (docs/upgrade.md)"
        ) from error


def _context(connection: "Connection", database: Database, folder: Path) -> "MigrationContext":
    from alembic.runtime.migration import MigrationContext

    options = {
        "fn": lambda _, context: _pending(context, database, folder),
        "version_table_schema": SCHEMAS[database],
        "transaction_per_migration": True,
    }
    return MigrationContext.configure(connection, opts=options)


def _pending(
    context: "MigrationContext", database: Database, folder: Path
) -> "Sequence[MigrationStep]":
    """Return the steps from the version of the database to the newest file."""
    from alembic.runtime.migration import MigrationStep
    from alembic.script.revision import RevisionMap

    scripts = list(_scripts(database, folder))
    numbers = [script.revision for script in scripts]
    version = context.get_current_revision()
    if version is not None and version not in numbers:
        raise SchemaTooNew(
            f"database {database} has the schema version {version}, and this code knows"
            f" {numbers[0]} to {numbers[-1]}: check out the release that upgraded it, or restore"
            " a backup from before (docs/upgrade.md)"
        )
    revisions = RevisionMap(lambda: scripts)
    pending = {revision.revision for revision in revisions.iterate_revisions("head", version)}
    return [
        MigrationStep.upgrade_from_script(revisions, script)
        for script in scripts
        if script.revision in pending
    ]


def _scripts(database: Database, folder: Path) -> "Iterator[Script]":
    """Read the SQL files as what Alembic reads out of Python files."""
    from alembic.script.base import Script

    before = None
    for path in sorted((folder / database).glob("*.sql")):
        number = path.name.partition("_")[0]
        module = ModuleType(path.stem)
        upgrade = update_wrapper(partial(_execute, path), _execute)  # Alembic's log names it
        module.__dict__.update(down_revision=before, upgrade=upgrade)
        yield Script(module, number, path)
        before = number


def _execute(path: Path, connection: "Connection") -> None:
    # Without parameters: a percent sign in a file is a percent sign.
    statements = path.read_text(encoding="utf-8")
    connection.exec_driver_sql(statements, execution_options={"no_parameters": True})


@contextmanager
def _connect(name: str, settings: OperationsSettings) -> "Iterator[Connection]":
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine(
        "postgresql+psycopg2://",
        creator=partial(db.connect, "postgres", name, settings),
        poolclass=NullPool,
    )
    with engine.connect() as connection:
        yield connection
