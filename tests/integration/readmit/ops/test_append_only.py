"""Records stay as they were written: no role that logs in changes, deletes or forges one."""

from contextlib import closing

import psycopg2
import pytest
from psycopg2 import errors

from readmit import db
from readmit.settings import StackSettings
from tests.support import raw

# One row of each, written by the role whose record it is.
CLEAN_RECORDS = {
    "ops.predictions": (
        "serving",
        "insert into ops.predictions (request_id, predicted_at, model_name, model_version, run_id,"
        " contract_hash, features, probability, risk, history)"
        " values (gen_random_uuid(), '2026-01-02', 'm', '1', 'r', 'h', '{}', 0.5, 'low', 'given')",
    ),
    "ops.history_lookups": (
        "serving",
        "insert into ops.history_lookups (caller, patient_nbr, request_id, outcome)"
        " values ('ward', 7, gen_random_uuid(), 'found')",
    ),
    "ops.promotions": (
        "publisher",
        "insert into ops.promotions (decision, model_name, metric, actor, reason, decision_id)"
        " values ('keep', 'm', 'ap', 'a', 'r', '00000000-0000-0000-0000-000000000001')",
    ),
    "ops.promotion_outcomes": (
        "publisher",
        "insert into ops.promotion_outcomes (decision_id)"
        " values ('00000000-0000-0000-0000-000000000001')",
    ),
    "ops.monitor_reports": (
        "publisher",
        "insert into ops.monitor_reports (model_name, model_version, n_requests, verdict, evidence)"
        " values ('m', '1', 1, 'too few', '{}')",
    ),
    "ops.corrections": (
        "publisher",
        "insert into ops.corrections (batch_id, source_row, released_by, build_id)"
        " values ('b', 1, 'a person', 'b+r1')",
    ),
    "ops.rejected_builds": (
        "publisher",
        "insert into ops.rejected_builds (build_id, reason) values ('b+r1', 'r')",
    ),
    "ops.object_digests": (
        "publisher",
        "insert into ops.object_digests (object_key, sha256) values ('k', 's')",
    ),
    "ops.published_batches": (
        "publisher",
        "select ops.publish_build('b', 'b', 'batch', 1, 1, 0, 0)",
    ),
    "ops.prediction_archives": (
        "postgres",
        "insert into ops.prediction_archives (object_key, month, n_rows)"
        " values ('k', '2025-01-01', 1)",
    ),
}
RAW_RECORDS = {
    "landing.encounters": (
        "loader",
        "insert into landing.encounters (_batch_id, _source_row) values ('b', 1)",
    ),
    "landing.sources": (
        "loader",
        "insert into landing.sources (source_sha256, name, data_source, n_rows, object_key)"
        " values ('s', 'n', 'file', 1, 'k')",
    ),
    "landing.slices": (
        "loader",
        "insert into landing.slices (source_sha256, split, ordinal, batch_id, first_source_row,"
        " last_source_row, n_rows, content_sha256, object_key)"
        " values ('s', 'train', 1, 'b', 1, 1, 1, 'c', 'k')",
    ),
    "landing.row_digests": (
        "loader",
        "insert into landing.row_digests values ('1', gen_random_uuid(), 'b', 1)",
    ),
    "landing.erasures": (
        "postgres",
        "insert into landing.erasures (patient_hash, key_check, erased_by) values ('h', 'k', 'p')",
    ),
}
ROLES: dict[str, tuple[db.Role, ...]] = {
    "raw": ("loader", "transformer", "publisher", "reader"),
    "clean": ("transformer", "publisher", "trainer", "serving", "reader"),
}
# Tried on each record by each role; {0} is the table, {1} its first column.
ATTACKS = (
    "update {0} set {1} = {1}",
    "update {0} set {1} = default",
    "delete from {0}",
    "with gone as (delete from {0} returning *) select count(*) from gone",
    "merge into {0} using (values (1)) as v on true when matched then delete",
    "truncate {0} cascade",
    "drop table {0} cascade",
    "alter table {0} disable trigger all",
    "alter table {0} rename to mine",
    "alter table {0} owner to current_user",
    "alter table {0} add column mine text",
    "drop trigger append_only on {0}",
    "create rule mine as on insert to {0} do instead nothing",
    "create trigger mine before insert on {0} for each row"
    " execute function suppress_redundant_updates_trigger()",
    "create policy mine on {0} using (false)",
    "select * from {0} for update",
)
# What the owner may still change: the rights alone protect these.
NO_TRIGGER = {"ops.published_batches", "landing.sources", "landing.slices", "landing.row_digests"}
# What would give a role the rights of another.
ESCAPES = (
    "set role eraser",
    "set role ops_owner",
    "set role postgres",
    "set session authorization postgres",
    "grant eraser to current_user",
    "alter role current_user superuser",
    "set session_replication_role = replica",
    "create role mine",
    "create function pg_temp.f() returns int language sql as 'select 1'",
    "copy (select 1) to program 'true'",
    "create extension dblink",
)
# Rights beyond reading and adding, of roles that nobody logs in as.
DOORS = {
    ("eraser", "ops.predictions", "DELETE"),
    ("eraser", "ops.history_lookups", "UPDATE"),
    ("eraser", "ops.corrections", "UPDATE"),
    ("eraser", "ops.prediction_archives", "UPDATE"),
    ("eraser", "landing.encounters", "DELETE"),
    ("eraser", "landing.sources", "UPDATE"),
    ("eraser", "landing.slices", "UPDATE"),
    ("eraser", "landing.row_digests", "UPDATE"),
    ("eraser", "landing.erasures", "UPDATE"),
    # The counts of a build, after an erasure and after a rebuild.
    ("eraser", "ops.published_batches", "UPDATE"),
    ("ops_owner", "ops.published_batches", "UPDATE"),
}
RIGHTS = """
    select r.rolname, c.oid::regclass::text, privilege
    from pg_roles as r
    cross join pg_class as c
    cross join unnest(array['UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) as privilege
    where not r.rolsuper and r.rolname !~ '^pg_' and c.oid = any(%s::regclass[])
        and (
            has_table_privilege(r.oid, c.oid, privilege)
            or privilege in ('UPDATE', 'REFERENCES')
            and has_any_column_privilege(r.oid, c.oid, privilege)
        )
"""
RECORDS = {"raw": RAW_RECORDS, "clean": CLEAN_RECORDS}
FIRST_COLUMNS = {
    "ops.predictions": "request_id",
    "ops.history_lookups": "lookup_id",
    "ops.promotions": "promotion_id",
    "ops.promotion_outcomes": "decision_id",
    "ops.monitor_reports": "report_id",
    "ops.corrections": "correction_id",
    "ops.rejected_builds": "build_id",
    "ops.object_digests": "digest_id",
    "ops.published_batches": "build_id",
    "ops.prediction_archives": "object_key",
    "landing.encounters": "_batch_id",
    "landing.sources": "source_sha256",
    "landing.slices": "source_sha256",
    "landing.row_digests": "encounter_key",
    "landing.erasures": "erasure_id",
}
# What the database writes into a record itself.
FORGERIES: tuple[tuple[db.Role, str], ...] = (
    (
        "serving",
        "insert into ops.history_lookups (looked_up_at, caller, patient_nbr, request_id, outcome)"
        " values ('2020-01-01', 'ward', 7, gen_random_uuid(), 'none')",
    ),
    (
        "serving",
        "insert into ops.history_lookups (lookup_id, caller, patient_nbr, request_id, outcome)"
        " overriding system value values (-1, 'ward', 7, gen_random_uuid(), 'none')",
    ),
    (
        "publisher",
        "insert into ops.promotions (decided_at, decision, model_name, metric, actor, reason)"
        " values ('2020-01-01', 'promote', 'm', 'ap', 'a', 'r')",
    ),
    (
        "publisher",
        "insert into ops.promotions (promotion_id, decision, model_name, metric, actor, reason)"
        " overriding system value values (9000000, 'promote', 'm', 'ap', 'a', 'r')",
    ),
    (
        "publisher",
        "insert into ops.promotion_outcomes (decision_id, finished_at)"
        " values ('00000000-0000-0000-0000-000000000002', '2020-01-01')",
    ),
    (
        "publisher",
        "insert into ops.monitor_reports"
        " (made_at, model_name, model_version, n_requests, verdict, evidence)"
        " values ('2020-01-01', 'm', '1', 1, 'no drift', '{}')",
    ),
    (
        "publisher",
        "insert into ops.corrections (batch_id, source_row, released_by, released_at, build_id)"
        " values ('b', 2, 'another', '2020-01-01', 'b+r2')",
    ),
    # Who holds keys of the store and no log-in of `publisher`, as the notebook.
    (
        "trainer",
        "insert into ops.object_digests (object_key, sha256) values ('snapshots/x.parquet', 's')",
    ),
    (
        "publisher",
        "insert into ops.object_digests (digest_id, object_key, sha256)"
        " overriding system value values (9000000, 'k', 'another')",
    ),
    (
        "publisher",
        "insert into ops.prediction_archives (object_key, month, n_rows)"
        " values ('forged', '2025-02-01', 0)",
    ),
    (
        "publisher",
        "insert into ops.published_batches (build_id, batch_id, kind) values ('x', 'x', 'batch')",
    ),
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> StackSettings:
    settings = raw.fresh(tmp_path_factory.mktemp("home"))
    for name, records in RECORDS.items():
        for role, statement in records.values():
            raw.query(settings, database(settings, name), statement, role=role)
    return settings


def database(settings: StackSettings, name: str) -> str:
    if name == "raw":
        return settings.raw_database
    return settings.clean_database


def rows(settings: StackSettings, name: str) -> dict[str, str]:
    """Return all rows of each record, as text."""
    texts = {}
    for table in RECORDS[name]:
        query = f"select string_agg(t::text, '|' order by t::text) from {table} as t"
        [(texts[table],)] = raw.query(settings, database(settings, name), query)
    return texts


@pytest.mark.parametrize(
    ("name", "role"), [(name, role) for name, roles in ROLES.items() for role in roles]
)
def test_no_role_changes_or_deletes_a_record(
    settings: StackSettings, name: str, role: db.Role
) -> None:
    before = rows(settings, name)
    assert all(before.values())
    successes = []
    with closing(db.connect(role, database(settings, name), settings)) as connection:
        connection.set_session(autocommit=True)
        with connection.cursor() as cur:
            attempts = [*ESCAPES]
            for table in RECORDS[name]:
                for attack in ATTACKS:
                    attempts.append(attack.format(table, FIRST_COLUMNS[table]))
            for statement in attempts:
                try:
                    cur.execute(statement)
                except psycopg2.Error:
                    continue
                successes.append(statement)
    assert successes == []
    assert rows(settings, name) == before


@pytest.mark.parametrize("name", RECORDS)
def test_the_only_doors_are_those_of_roles_that_nobody_logs_in_as(
    settings: StackSettings, name: str
) -> None:
    rights = raw.query(settings, database(settings, name), RIGHTS, [*RECORDS[name]])
    assert set(rights) == {door for door in DOORS if door[1] in RECORDS[name]}
    logins = "select rolname from pg_roles where rolcanlogin and rolname in ('eraser', 'ops_owner')"
    assert raw.query(settings, database(settings, name), logins) == []
    members = """
        select pg_get_userbyid(member) from pg_auth_members
        where pg_get_userbyid(roleid) in ('eraser', 'ops_owner')
    """
    assert raw.query(settings, database(settings, name), members) == [("eraser",)]


@pytest.mark.parametrize(("role", "statement"), FORGERIES)
def test_the_database_itself_writes_numbers_and_times(
    settings: StackSettings, role: db.Role, statement: str
) -> None:
    with pytest.raises(errors.InsufficientPrivilege, match="permission denied"):
        raw.query(settings, settings.clean_database, statement, role=role)


@pytest.mark.parametrize("table", sorted({*CLEAN_RECORDS, *RAW_RECORDS} - NO_TRIGGER))
@pytest.mark.parametrize("attack", ["delete from {0}", "truncate {0} cascade"])
def test_the_owner_deletes_no_record_by_mistake(
    settings: StackSettings, table: str, attack: str
) -> None:
    """The superuser can take a trigger away, but a wrong statement alone deletes nothing."""
    name = "clean" if table in CLEAN_RECORDS else "raw"
    with pytest.raises(psycopg2.Error, match=r"append-only|is a record"):
        raw.query(settings, database(settings, name), attack.format(table))
