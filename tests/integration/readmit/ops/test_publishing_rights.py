"""`transformer` owns the tables that a publication touches, and still cannot publish by anything it
hangs on them.
"""

import psycopg2
import pytest
from psycopg2 import errors

from readmit.settings import StackSettings
from tests.support import raw

PUBLISH = "ops.publish_build('evil', 'evil', 'batch', 0, 0, 0, 0)"
BODY = f"begin perform {PUBLISH}; return null; end"
TABLE = "staging.built"


@pytest.fixture
def settings(tmp_path) -> StackSettings:
    fresh = raw.fresh(tmp_path)
    as_transformer(fresh, f"create table {TABLE} (_build_id text)")
    return fresh


def as_transformer(settings: StackSettings, statement: str) -> None:
    raw.query(settings, settings.clean_database, statement, role="transformer")


def published(settings: StackSettings) -> list[tuple]:
    return raw.query(
        settings, settings.clean_database, "select build_id from ops.published_batches"
    )


@pytest.mark.parametrize(
    "statement",
    [
        f"create function staging.f() returns trigger language plpgsql as $${BODY}$$",
        f"create function pg_temp.f() returns trigger language plpgsql as $${BODY}$$",
        "create function staging.f() returns int language sql as $$select 1$$",
        "do $$begin perform 1; end$$",
    ],
)
def test_transformer_writes_no_functions(settings, statement):
    with pytest.raises(errors.InsufficientPrivilege, match="permission denied for language"):
        as_transformer(settings, statement)


@pytest.mark.parametrize(
    "trap",
    [
        f"create rule trap as on delete to {TABLE} do also select {PUBLISH}",
        f"alter table {TABLE} enable row level security;"
        f" create policy trap on {TABLE} using ({PUBLISH})",
        f"create table staging.child () inherits ({TABLE})",
        f"create trigger trap after delete on {TABLE} for each statement"
        " execute function ops.forbid_change()",
    ],
)
def test_a_table_with_a_trap_is_not_touched(settings, trap):
    try:
        as_transformer(settings, trap)
    except psycopg2.errors.InsufficientPrivilege:
        return  # not even the trap can be set
    with pytest.raises(psycopg2.errors.RaiseException, match="nothing is deleted from it"):
        raw.query(
            settings, settings.clean_database, "select ops.discard_build('b')", role="publisher"
        )
    assert published(settings) == []


def test_a_plain_table_is_cleared(settings):
    as_transformer(settings, f"insert into {TABLE} values ('b'), ('c')")
    raw.query(settings, settings.clean_database, "select ops.discard_build('b')", role="publisher")
    assert raw.query(settings, settings.clean_database, f"select * from {TABLE}") == [("c",)]
