"""After `kill -9` at any step, the next runs reach the same state as without it.

A step is a statement, or the moment before or after a commit, of everything from the file to the
release of a row.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, ClassVar

import psycopg2
import pytest
from psycopg2.extensions import connection, cursor

from readmit.batches import claims, corrections, loading
from readmit.intake import sample, sources
from readmit.settings import StackSettings
from tests.support import raw

STATES = {
    "raw": (
        "select batch_id, status, n_rows, n_quarantined, n_excluded, reason"
        " from landing.batches order by 1",
        "select _batch_id, count(*) from landing.encounters group by 1 order by 1",
        "select * from landing.claims",
    ),
    "clean": (
        "select build_id, n_rows, n_features, n_quarantined, n_excluded"
        " from ops.published_batches order by 1",
        "select _build_id, _source_row, verdict from staging.stg_uci__encounters order by 1, 2",
        "select encounter_id, _build_id from intermediate.int_encounters__features order by 1",
        "select _source_row, released_at is not null from quarantine.encounters order by 1",
        "select build_id, source_row from ops.corrections order by 1",
        "select build_id, reason from ops.rejected_builds order by 1",
        "select * from ops.current_build",
    ),
}


class Killed(BaseException):
    """Nothing catches it, as nothing catches a signal 9."""


class Steps:
    """Counts the steps of all sessions of this process, and ends it at one of them."""

    n_done = 0
    last = 0

    @classmethod
    def take(cls) -> None:
        cls.n_done += 1
        if cls.n_done == cls.last:
            raise Killed


class Cursor(cursor):
    def execute(self, *arguments: Any) -> None:
        Steps.take()
        super().execute(*arguments)

    def copy_expert(self, *arguments: Any, **named: Any) -> None:
        Steps.take()
        super().copy_expert(*arguments, **named)


class Connection(connection):
    """A session that the next life uses again: to begin one takes as long as what is done in it."""

    address = ""

    def cursor(self, *arguments: Any, **named: Any) -> cursor:
        return super().cursor(*arguments, **{"cursor_factory": Cursor, **named})

    def commit(self) -> None:
        Steps.take()
        super().commit()
        Steps.take()

    def close(self) -> None:
        """Leave the server what the end of a process leaves: no transaction, lock or setting."""
        if self.closed:
            return
        self.rollback()
        self.autocommit = True
        with super().cursor() as cur:
            cur.execute("discard all")
        self.autocommit = False
        Sessions.idle[self.address].append(self)


class Sessions:
    """The sessions of this process that are not in use, by address and role."""

    connect = staticmethod(psycopg2.connect)
    idle: ClassVar[defaultdict[str, list[Connection]]] = defaultdict(list)

    @classmethod
    def take(cls, dsn: str) -> Connection:
        if cls.idle[dsn]:
            return cls.idle[dsn].pop()
        session: Connection = cls.connect(dsn, connection_factory=Connection)
        session.address = dsn  # with the password, which its own `dsn` hides
        return session

    @classmethod
    def end(cls) -> None:
        for sessions in cls.idle.values():
            for session in sessions:
                connection.close(session)
        cls.idle.clear()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> StackSettings:
    home = tmp_path_factory.mktemp("kills")
    sample.write_csv(home / "source.csv", n_rows=60)
    stack_settings = raw.fresh(home, dataset=str(home / "source.csv"))
    raw.stand_in_tables(stack_settings)
    return stack_settings


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(psycopg2, "connect", Sessions.take)
    yield
    Steps.last = 0
    Sessions.end()


def life(settings: StackSettings) -> None:
    """Do what runs do until nothing waits; in between, two held rows of a batch are released."""
    sources.ensure_source(settings)
    work_through(settings)
    for n_released in range(2):
        released = "select 1 from ops.corrections"
        if len(raw.query(settings, settings.clean_database, released)) > n_released:
            continue
        held = raw.query(
            settings, settings.clean_database, "select * from quarantine.encounters order by 1, 2"
        )[n_released]
        corrections.release(held[0], held[1], {"age": "[70-80)"}, "a test", settings)
        work_through(settings)
    work_through(settings)


def work_through(settings: StackSettings) -> None:
    """Finish every waiting build: one batch is rejected, and so is the second correction."""
    while (build := claims.claim_and_begin("run", settings)) is not None:
        if build.kind == "batch":
            loading.load(build.batch_id, settings)
            raw.stand_in_build(settings, build.batch_id, n_held=2)
        else:
            raw.stand_in_release(settings, build.build_id)
        if build.batch_id.startswith("test-") or build.build_id.endswith("+r2"):
            build.reject("nonsense", settings)
        else:
            build.publish(settings)


def state(settings: StackSettings) -> list[list[Any]]:
    names = {"raw": settings.raw_database, "clean": settings.clean_database}
    results = []
    for key, statements in STATES.items():
        for statement in statements:
            results.append(raw.query(settings, names[key], statement))
    return results


def start_again(settings: StackSettings) -> None:
    emptied = {
        settings.raw_database: (
            "landing.encounters, landing.sources, landing.slices, landing.batches,"
            " landing.claims, landing.row_digests, landing.proposals, landing.downloads"
        ),
        settings.clean_database: (
            "ops.published_batches, ops.corrections, ops.rejected_builds, ops.current_build,"
            " staging.stg_uci__encounters, intermediate.int_encounters__features"
        ),
    }
    for database, tables in emptied.items():
        raw.query(
            settings, database, f"set session_replication_role = replica; truncate {tables} cascade"
        )
    for mark in (settings.readmit_home / "sources").glob("*.known"):
        mark.unlink()


def killed_at(step: int, settings: StackSettings) -> list[list[Any]]:
    """Return the state after a life that ended at this step, and the runs that followed."""
    Steps.last = 0
    start_again(settings)
    Steps.n_done = 0
    Steps.last = step
    with pytest.raises(Killed):
        life(settings)
    life(settings)
    claims.claim("the next", settings)
    return state(settings)


def undisturbed(settings: StackSettings) -> tuple[int, list[list[Any]]]:
    start_again(settings)
    Steps.n_done = 0
    life(settings)
    return Steps.n_done, state(settings)


def test_a_process_that_is_killed_now_and_then_leaves_nothing_behind(
    settings: StackSettings, watched: None
) -> None:
    n_steps, expected = undisturbed(settings)
    assert {row[1] for row in expected[0]} == {"published", "rejected"}
    for step in range(n_steps, 0, -7):
        assert killed_at(step, settings) == expected, step


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_a_process_that_is_killed_at_any_step_leaves_nothing_behind(
    settings: StackSettings, watched: None
) -> None:
    n_steps, expected = undisturbed(settings)
    for step in range(1, n_steps + 1):
        assert killed_at(step, settings) == expected, step
