"""Databases that several tests begin with: built once, then copied by Postgres.

A copy takes a second, a published batch takes a build of dbt. The copies have the names of the
originals, so dbt need not parse its project again.
"""

from contextlib import closing

from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from readmit import db
from readmit.ops.bootstrap import bootstrap
from readmit.settings import StackSettings


def keep(settings: StackSettings) -> None:
    """Keep the raw and the clean database as they are, under names of their own."""
    rename = "alter database {database} rename to {template}"
    _run_for_each_database(settings, rename)


def put_back(settings: StackSettings) -> None:
    """Make both databases what they were at `keep`, with the rights of their roles."""
    _run_for_each_database(
        settings,
        "drop database if exists {database} with (force)",
        "create database {database} template {template} strategy file_copy",
    )
    bootstrap(settings)  # a copy has the rights on tables, not those on the database


def _run_for_each_database(settings: StackSettings, *statements: str) -> None:
    with closing(db.connect("postgres", "postgres", settings)) as server:
        server.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        with server.cursor() as cur:
            for name in (settings.raw_database, settings.clean_database):
                cur.execute(
                    "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
                    " where datname = %s",
                    (name,),
                )
                for statement in statements:
                    names = {
                        "database": sql.Identifier(name),
                        "template": sql.Identifier(f"{name}_template"),
                    }
                    cur.execute(sql.SQL(statement).format(**names))
