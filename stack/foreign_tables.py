"""Whether this release brings tables of Airflow or MLflow forward, which have migrations of their
own.

Their files are read, not imported: Airflow's take seconds to import, and `make up` looks each time.
"""

import re
from collections.abc import Iterable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from psycopg2 import sql

from readmit import db
from readmit.settings import OperationsSettings

# By database: the package, the folder of its migrations, and its table of versions.
MIGRATIONS = (
    ("airflow", "airflow", "migrations/versions", "alembic_version"),
    ("mlflow", "mlflow", "store/db_migrations/versions", "alembic_version"),
    ("mlflow", "mlflow", "server/auth/db/migrations/versions", "alembic_version_auth"),
)
REVISION = re.compile(r"^revision\b.*?=\s*[\"'](\w+)[\"']", re.MULTILINE)
BEFORE = re.compile(r"^down_revision\b.*?=\s*[\"'](\w+)[\"']", re.MULTILINE)


def pending(settings: OperationsSettings) -> list[str]:
    """Return the databases whose tables are not those of the installed package.

    A database without tables has nothing to lose.
    """
    lacking = []
    for database, package, folder, table in MIGRATIONS:
        version = _version(database, table, settings)
        if version and version not in heads(package, folder) and database not in lacking:
            lacking.append(database)
    return lacking


def heads(package: str, folder: str) -> set[str]:
    """Return the newest revisions of an installed package.

    Args:
        package: its name.
        folder: of its migrations, inside the package.
    """
    spec = find_spec(package)
    locations: Iterable[str] = spec.submodule_search_locations or () if spec else ()
    revisions = set()
    followed = set()
    for location in locations:
        for path in Path(location, folder).glob("*.py"):
            text = path.read_text(encoding="utf-8")
            revisions |= set(REVISION.findall(text))
            followed |= set(BEFORE.findall(text))
    return revisions - followed


def _version(database: str, table: str, settings: OperationsSettings) -> str | None:
    with (
        closing(db.connect("postgres", database, settings)) as connection,
        connection.cursor() as cur,
    ):
        cur.execute("select to_regclass(%s) is not null", (table,))
        if cur.fetchall() != [(True,)]:
            return None
        cur.execute(sql.SQL("select version_num from {}").format(sql.Identifier(table)))
        row = cur.fetchone()
    return None if row is None else str(row[0])
