"""`transformer` owns the tables of a publication, but nothing attached to them can publish."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import errors

from expectations import gate_queries, gx_validation, publish_suite
from readmit.batches import corrections, loading
from readmit.batches.builds import Build
from readmit.intake import sample, sources
from readmit.settings import StackSettings
from tests.support import raw

PUBLISH = "ops.publish_build('evil', 'evil', 'batch', 0, 0, 0, 0)"
BODY = f"begin perform {PUBLISH}; return null; end"
TABLE = "staging.built"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> StackSettings:
    """A stack in which each test has a new table."""
    return raw.fresh(tmp_path_factory.mktemp("stack"))


@pytest.fixture
def settings(stack: StackSettings) -> Iterator[StackSettings]:
    as_transformer(stack, f"create table {TABLE} (_build_id text)")
    yield stack
    as_transformer(stack, f"drop table {TABLE} cascade")


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


# ---------------------------------------------------------------- views that publish when read

STAGING = "staging.stg_uci__encounters"
FEATURES = "intermediate.int_encounters__features"
QUARANTINE = "quarantine.encounters"
# The roles that read what `transformer` owns, with all that they may write in database `clean`.
READERS = {
    "reader": set(),
    "trainer": set(),
    "serving": {("ops.predictions", "INSERT"), ("ops.history_lookups", "INSERT")},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[StackSettings, str]:
    return build_one_batch(tmp_path_factory.mktemp("built"))


def build_one_batch(folder: Path) -> tuple[StackSettings, str]:
    """Return a stack with one batch that is built, with a quarantined row, and not published."""
    source = folder / "encounters.csv"
    sample.write_csv(source, n_rows=50)
    settings = raw.fresh(folder, dataset=str(source))
    raw.stand_in_tables(settings)
    sources.ensure_source(settings)
    batch_id = raw.claim_batch("run", settings)
    assert batch_id is not None
    loading.load(batch_id, settings)
    Build.of_batch(batch_id).begin(settings)
    raw.stand_in_build(settings, batch_id, n_held=1)
    # A column that the gate's counts look at and the stand-in for dbt does not have.
    as_transformer(settings, f"alter table {STAGING} add column patient_nbr bigint")
    return settings, batch_id


@contextmanager
def trapped(settings: StackSettings, relation: str) -> Iterator[None]:
    """Replace a relation by a view: a role that reads it calls the function that publishes."""
    schema, _, name = relation.partition(".")
    kind = "table"
    if relation == QUARANTINE:
        kind = "view"
    as_transformer(settings, f"alter {kind} {relation} rename to original_{name}")
    as_transformer(
        settings,
        f"create view {relation} as select * from {schema}.original_{name}"
        f" where ({PUBLISH}) is not null",
    )
    try:
        yield
    finally:
        as_transformer(settings, f"drop view {relation}")
        as_transformer(settings, f"alter {kind} {schema}.original_{name} rename to {name}")


def publish(settings: StackSettings, batch_id: str) -> None:
    Build.of_batch(batch_id).publish(settings)


def count_for_the_gate(settings: StackSettings, batch_id: str) -> None:
    gate_queries.counts(Build.of_batch(batch_id), settings)


def name_reasons(settings: StackSettings, batch_id: str) -> None:
    gate_queries.frequent_reasons(Build.of_batch(batch_id), settings)


def evaluate_features(settings: StackSettings, batch_id: str) -> None:
    query = gate_queries.feature_rows(Build.of_batch(batch_id), settings)
    check = gx_validation.Check(publish_suite.accounting("none"), query)
    gx_validation.evaluate([check], "transformer", settings.clean_database, settings)


def release(settings: StackSettings, batch_id: str) -> None:
    corrections.release(batch_id, 1, {}, "an engineer", settings)


@pytest.mark.parametrize(
    ("relation", "read"),
    [
        (STAGING, publish),
        (FEATURES, publish),
        (STAGING, count_for_the_gate),
        (FEATURES, count_for_the_gate),
        (STAGING, name_reasons),
    ],
)
def test_a_view_cannot_publish_through_its_readers(
    built: tuple[StackSettings, str],
    relation: str,
    read: Callable[[StackSettings, str], None],
) -> None:
    settings, batch_id = built
    with trapped(settings, relation):
        with pytest.raises(errors.InsufficientPrivilege, match="function publish_build"):
            read(settings, batch_id)
        assert published(settings) == []


def test_a_view_cannot_publish_through_a_release(tmp_path: Path) -> None:
    settings, batch_id = build_one_batch(tmp_path)
    publish(settings, batch_id)
    before = published(settings)
    with trapped(settings, QUARANTINE):
        with pytest.raises(errors.InsufficientPrivilege, match="function publish_build"):
            release(settings, batch_id)
        assert published(settings) == before


def test_the_suites_of_the_publish_gate_cannot_publish(built: tuple[StackSettings, str]) -> None:
    settings, batch_id = built
    with trapped(settings, FEATURES):
        evaluate_features(settings, batch_id)  # Great Expectations keeps the error in its outcome
        assert published(settings) == []


def test_publisher_reads_nothing_that_transformer_owns(
    built: tuple[StackSettings, str],
) -> None:
    settings, _ = built
    as_transformer(settings, "create table if not exists marts.mart as select 1 as one")
    readable = """
        select c.oid::regclass::text from pg_class as c
        where c.relowner = 'transformer'::regrole and c.relkind in ('r', 'v', 'm')
            and (
                has_table_privilege('publisher', c.oid, 'select')
                or has_any_column_privilege('publisher', c.oid, 'select')
            )
    """
    assert raw.query(settings, settings.clean_database, readable) == []


@pytest.mark.parametrize("role", READERS)
def test_roles_that_read_dbts_views_have_no_rights_to_lend(
    built: tuple[StackSettings, str], role: str
) -> None:
    """A view lends itself the rights of the role that reads it: those roles write nothing and run
    no function with the rights of another role.
    """
    settings, _ = built
    writable = """
        select c.oid::regclass::text, privilege
        from pg_class as c
        cross join unnest(array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) as privilege
        where c.relkind in ('r', 'v', 'f', 'p')
            and c.relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema')
            and (
                has_table_privilege(%s, c.oid, privilege)
                or privilege in ('INSERT', 'UPDATE')
                and has_any_column_privilege(%s, c.oid, privilege)
            )
    """
    assert set(raw.query(settings, settings.clean_database, writable, role, role)) == READERS[role]
    powerful = """
        select oid::regprocedure::text from pg_proc
        where prosecdef and has_function_privilege(%s, oid, 'execute')
    """
    assert raw.query(settings, settings.clean_database, powerful, role) == []
