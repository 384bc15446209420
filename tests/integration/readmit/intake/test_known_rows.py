"""Exports that grow.

Old rows are known, changed rows are proposals, and only new rows are loaded.
"""

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from operator import attrgetter
from pathlib import Path
from typing import ClassVar

import pytest

from readmit.batches import claims, corrections, ledger, loading, proposals
from readmit.batches.corrections import ReleaseRefused
from readmit.errors import SourceRefused
from readmit.intake import sample, sources
from readmit.intake.layout import COLUMNS
from readmit.intake.source_counts import source_counts
from readmit.intake.split import split_of
from readmit.settings import StackSettings
from tests.support import accounting, raw
from tests.support.bad_input import SAME, Kind

ROWS = 300
SEED = 21


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The header and the rows of an export."""
    path = tmp_path_factory.mktemp("export") / "export.csv"
    sample.write_csv(path, n_rows=ROWS)
    return path.read_text().splitlines()


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    stack_settings = raw.fresh(tmp_path)
    raw.stand_in_tables(stack_settings)
    return stack_settings


def write(lines: list[str], path: Path) -> Path:
    path.write_text("\r\n".join([*lines, ""]), newline="")
    return path


def changed(line: str, **values: str) -> str:
    """Return a row with other values; names have `_` for `-`."""
    row = dict(zip([name.replace("-", "_") for name in COLUMNS], line.split(","), strict=True))
    return ",".join((row | values).values())


def submit(lines: list[str], path: Path, settings: StackSettings) -> tuple[int, int, int]:
    """Submit a file; return its rows that are known, changed, and in its batches."""
    sha256 = sources.submit(str(write(lines, path)), settings)
    [counts] = source_counts(settings, sha256)
    assert counts.n_rows == len(lines) - 1
    return counts[2:]


def rows_in_raw(settings: StackSettings) -> list[str]:
    statement = "select encounter_id from landing.encounters order by encounter_id"
    return [row[0] for row in raw.query(settings, settings.raw_database, statement)]


def test_an_export_that_grows_three_times_with_one_changed_row(
    export: list[str], settings: StackSettings, tmp_path: Path
) -> None:
    header, *rows = export
    path = tmp_path / "nightly.csv"
    assert submit([header, *rows[:200]], path, settings) == (0, 0, 200)
    raw.publish_all(settings)
    grown = rows[:240]
    grown[50] = changed(rows[50], readmitted="<30", time_in_hospital="14")
    assert submit([header, *grown], path, settings) == (199, 1, 40)
    raw.publish_all(settings)
    assert submit([header, *grown, *rows[240:270]], path, settings) == (240, 0, 30)
    raw.publish_all(settings)
    assert submit([header, *grown, *rows[240:]], path, settings) == (270, 0, 30)
    raw.publish_all(settings)
    assert submit([header, *rows[::-1]], path, settings) == (ROWS, 0, 0)
    assert claims.waiting(settings) == []
    assert set(accounting.check_ledger(settings).values()) == {"published"}
    assert rows_in_raw(settings) == sorted(row.split(",")[0] for row in rows)
    before = changed(rows[50])
    [proposal] = proposals.open_proposals(settings)
    names = [name.lower().replace("-", "_") for name in COLUMNS]
    old = dict(zip(names, before.split(","), strict=True))
    expected = {}
    for name, new in (("readmitted", "<30"), ("time_in_hospital", "14")):
        if old[name] != new:
            expected[name] = (old[name], new)
    assert proposal.changes == expected
    build_id = proposals.accept(proposal.proposal_id, "a clinician", settings)
    assert corrections.waiting(settings) == [raw.correction(build_id)]
    assert raw.publish_all(settings) == [build_id]
    assert proposals.open_proposals(settings) == []
    # The corrected row is what is known now; the one before would be a change back.
    assert submit([header, *grown[::-1]], path, settings) == (240, 0, 0)
    assert submit([header, *rows[:51]], path, settings) == (50, 1, 0)


def test_rows_that_wait_or_are_held_back_are_known(
    export: list[str], settings: StackSettings, tmp_path: Path
) -> None:
    header, *rows = export
    assert submit(export[:101], tmp_path / "first.csv", settings) == (0, 0, 100)
    assert submit([header, *rows[50:150]], tmp_path / "waits.csv", settings) == (50, 0, 50)
    raw.publish_all(settings, n_held=2)
    held = "select count(*) from quarantine.encounters"
    assert raw.query(settings, settings.clean_database, held)[0][0] > 0
    assert submit([header, *rows[:151]], tmp_path / "held.csv", settings) == (150, 0, 1)


def test_rows_of_a_rejected_batch_come_again(
    export: list[str], settings: StackSettings, tmp_path: Path
) -> None:
    submit(export[:101], tmp_path / "first.csv", settings)
    build = claims.claim_and_begin("run", settings)
    assert build is not None
    n_rejected = loading.load(build.batch_id, settings)
    build.reject("nonsense", settings)
    raw.publish_all(settings)
    assert submit(export[:111], tmp_path / "again.csv", settings) == (
        100 - n_rejected, 0, n_rejected + 10
    )  # fmt: skip


def test_rows_that_stand_twice_in_a_file_are_known_afterwards(
    export: list[str], settings: StackSettings, tmp_path: Path
) -> None:
    header, *rows = export
    twice = [header, rows[0], rows[1], rows[0], changed(rows[1], change="Ch")]
    assert submit(twice, tmp_path / "first.csv", settings) == (0, 0, 4)
    raw.publish_all(settings)
    assert submit([*twice, rows[2], rows[2]], tmp_path / "next.csv", settings) == (4, 0, 2)


def test_a_row_without_a_number_changes_no_other_row(
    export: list[str], settings: StackSettings, tmp_path: Path
) -> None:
    header, *rows = export
    nameless = [changed(row, encounter_id="unknown") for row in rows[:3]]
    assert submit([header, *nameless[:2]], tmp_path / "first.csv", settings) == (0, 0, 2)
    assert submit([header, *nameless], tmp_path / "next.csv", settings) == (2, 0, 1)
    padded = changed(rows[0], encounter_id=f"00{rows[0].split(',')[0]}")
    assert submit([header, rows[0]], tmp_path / "plain.csv", settings) == (0, 0, 1)
    assert submit([header, padded], tmp_path / "padded.csv", settings) == (0, 1, 0)


@pytest.fixture(scope="module")
def old_export(
    export: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, StackSettings]:
    """A plain file of 60 rows, its sha256, and databases that it was submitted to."""
    folder = tmp_path_factory.mktemp("old")
    path = write(export[:61], folder / "plain.csv")
    own_settings = raw.fresh(folder)
    return path, sources.submit(str(path), own_settings), own_settings


@pytest.mark.parametrize("kind", SAME, ids=attrgetter("name"))
def test_an_old_export_in_another_dialect_is_all_known(
    kind: Kind, old_export: tuple[Path, str, StackSettings], tmp_path: Path
) -> None:
    plain, first, own_settings = old_export
    path = tmp_path / "given.csv"
    path.write_bytes(kind.corrupt(plain.read_bytes()))
    sha256 = sources.submit(str(path), own_settings)
    [counts] = source_counts(own_settings, sha256)
    if sha256 == first:  # packed, and the same file inside
        assert counts[1:] == (60, 0, 0, 60)
    else:
        assert counts[1:] == (60, 60, 0, 0)


def test_dismissed_values_are_not_proposed_again(
    export: list[str], settings: StackSettings, tmp_path: Path
) -> None:
    header, *rows = export
    submit(export[:51], tmp_path / "first.csv", settings)
    other = changed(rows[0], age="[90-100)", race="Other")
    assert submit([header, other], tmp_path / "change.csv", settings) == (0, 1, 0)
    assert submit([header, other, rows[60]], tmp_path / "more.csv", settings) == (1, 0, 1)
    [proposal] = proposals.open_proposals(settings)
    with pytest.raises(ReleaseRefused, match="not published yet"):
        proposals.accept(proposal.proposal_id, "me", settings)
    with pytest.raises(ReleaseRefused, match="the name of the person"):
        proposals.dismiss(proposal.proposal_id, " ", settings)
    proposals.dismiss(proposal.proposal_id, "me", settings)
    with pytest.raises(ReleaseRefused, match="no such proposal is open"):
        proposals.accept(proposal.proposal_id, "me", settings)
    assert submit([header, other, rows[61]], tmp_path / "later.csv", settings) == (1, 0, 1)
    assert proposals.count_open(settings) == 0


def test_a_rejected_or_withdrawn_correction_is_decided_again(
    export: list[str], settings: StackSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, *rows = export
    submit(export[:51], tmp_path / "first.csv", settings)
    raw.publish_all(settings)
    submit([header, changed(rows[0], age="[90-100)", race="Other")], tmp_path / "c.csv", settings)
    [proposal] = proposals.open_proposals(settings)
    build_id = proposals.accept(proposal.proposal_id, "me", settings)
    build = raw.correction(build_id)
    build.begin(settings)
    raw.stand_in_release(settings, build_id)
    build.reject("nonsense", settings)
    assert proposals.open_proposals(settings) == [proposal]
    second = proposals.accept(proposal.proposal_id, "me", settings)
    assert second == build_id.replace("+r1", "+r2")
    corrections.withdraw(second, "me", settings)
    assert proposals.open_proposals(settings) == [proposal]
    third = proposals.accept(proposal.proposal_id, "me", settings)
    # A crash after `clean` has it and before `raw` has: it is found again, not added.
    raw.query(
        settings,
        settings.raw_database,
        "update landing.proposals"
        " set state = 'open', build_id = null, decided_by = null, decided_at = null",
    )
    assert proposals.accept(proposal.proposal_id, "me", settings) == third
    monkeypatch.setattr(ledger, "mark_rejected", lambda *_: None)
    raw.correction(third).begin(settings)
    raw.correction(third).reject("nonsense", settings)
    assert proposals.open_proposals(settings) == []
    ledger.repair(settings)
    assert proposals.open_proposals(settings) == [proposal]


def test_a_patient_of_another_split_is_not_taken_over(
    export: list[str], settings: StackSettings, tmp_path: Path
) -> None:
    header, *rows = export
    submit(export[:51], tmp_path / "first.csv", settings)
    raw.publish_all(settings)
    split = split_of(rows[0].split(",")[1])
    stranger = 1
    while split_of(stranger) == split:
        stranger += 1
    submit([header, changed(rows[0], patient_nbr=str(stranger))], tmp_path / "c.csv", settings)
    [proposal] = proposals.open_proposals(settings)
    with pytest.raises(ReleaseRefused, match="belongs to the split"):
        proposals.accept(proposal.proposal_id, "me", settings)


def test_the_command_lists_accepts_and_dismisses(
    export: list[str],
    settings: StackSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    header, *rows = export
    monkeypatch.setattr(proposals, "PipelineSettings", lambda: settings)
    assert proposals.main(["list"]) == 0
    assert capsys.readouterr().out == "no changed rows are proposed\n"
    submit(export[:51], tmp_path / "first.csv", settings)
    raw.publish_all(settings)
    others = [changed(row, weight="[0-25)") for row in rows[:3]]
    submit([header, *others], tmp_path / "c.csv", settings)
    proposals.main(["list"])
    assert capsys.readouterr().out.count("weight ? -> [0-25)") == 3
    first = proposals.open_proposals(settings)[0].proposal_id
    assert proposals.main(["accept", f"{first}-{first + 1}", "--by", "me"]) == 0
    assert proposals.main(["dismiss", str(first + 2), "--by", "me"]) == 0
    assert "is dismissed" in capsys.readouterr().out
    assert proposals.main(["accept", "all"]) == 1
    assert "write the number of a proposal" in capsys.readouterr().err


def test_a_resend_may_not_change_rows_of_other_batches(
    export: list[str], settings: StackSettings, tmp_path: Path
) -> None:
    header, *rows = export
    train = [row for row in rows if split_of(row.split(",")[1]) == "train"]
    submit([header, *train[:50]], tmp_path / "first.csv", settings)
    raw.publish_all(settings)
    submit([header, *train[50:100]], tmp_path / "second.csv", settings)
    build = claims.claim_and_begin("run", settings)
    assert build is not None
    loading.load(build.batch_id, settings)
    build.reject("nonsense", settings)
    resend = write([header, changed(train[0], race="Other", age="[0-10)"), *train[50:100]],
                   tmp_path / "resend.csv")  # fmt: skip
    with pytest.raises(SourceRefused, match="changes 1 rows of other batches, but a resend"):
        sources.submit(str(resend), settings, build.batch_id)
    assert proposals.count_open(settings) == 0
    whole = write([header, *train[:100]], tmp_path / "whole.csv")
    sources.submit(str(whole), settings, build.batch_id)
    assert len(claims.waiting(settings)) == 1


def test_lost_objects_of_a_grown_export_are_stored_again(
    export: list[str], settings: StackSettings, tmp_path: Path
) -> None:
    from readmit import storage

    submit(export[:101], tmp_path / "first.csv", settings)
    raw.publish_all(settings)
    submit(export[:151], tmp_path / "grown.csv", settings)
    keys = """
        select batch_id, object_key from landing.slices
        where batch_id not in (select batch_id from landing.batches)
    """
    lost = raw.query(settings, settings.raw_database, keys)
    client = storage.client("admin", settings)
    for _, key in lost:
        client.delete_object(Bucket=settings.s3_pipeline_bucket, Key=key)
    sources.submit(str(tmp_path / "grown.csv"), settings)
    assert sum(loading.load(batch_id, settings) for batch_id, _ in lost) == 50


def test_random_exports_bring_each_row_once(
    export: list[str], settings: StackSettings, tmp_path: Path
) -> None:
    header, *rows = export
    draw = random.Random(SEED)
    arrived: set[str] = set()
    for n in range(8):
        part = draw.sample(rows, draw.randint(1, 120))
        new = set(part) - arrived
        counts = submit([header, *part], tmp_path / f"{n}.csv", settings)
        assert counts == (len(part) - len(new), 0, len(new))
        arrived |= new
        if draw.random() < 0.5:
            raw.publish_all(settings)
    raw.publish_all(settings)
    assert rows_in_raw(settings) == sorted(row.split(",")[0] for row in arrived)
    accounting.check_ledger(settings)


# ---- an address is asked again


class Server(BaseHTTPRequestHandler):
    """Serves one file; `mark` is the header that names its version."""

    body: ClassVar[bytes] = b""
    mark: ClassVar[str] = "ETag"
    statuses: ClassVar[list[int]] = []
    is_gone: ClassVar[bool] = False

    def do_GET(self) -> None:
        version = {"ETag": f'"{hash(self.body)}"', "Last-Modified": f"{hash(self.body)}"}
        condition = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
        status = 200
        if self.is_gone:
            status = 404
        elif self.mark and self.headers.get(condition[self.mark]) == version[self.mark]:
            status = 304
        self.statuses.append(status)
        self.send_response(status)
        if self.mark:
            self.send_header(self.mark, version[self.mark])
        self.send_header("Content-Type", "text/csv")
        body = b""
        if status == 200:
            body = self.body
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    Server.statuses.clear()
    monkeypatch.setattr(Server, "is_gone", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/export.csv"
        running.shutdown()


@pytest.mark.parametrize("mark", ["ETag", "Last-Modified", ""])
def test_an_address_is_requested_again_and_a_changed_file_is_one_more_source(
    mark: str,
    address: str,
    export: list[str],
    settings: StackSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Server, "mark", mark)
    monkeypatch.setattr(Server, "body", write(export[:101], tmp_path / "a.csv").read_bytes())
    own = settings.model_copy(update={"dataset": address})
    assert sources.ensure_source(own)
    assert sources.ensure_source(own) is None
    assert Server.statuses == [200, 304 if mark else 200]
    monkeypatch.setattr(Server, "body", write(export[:121], tmp_path / "a.csv").read_bytes())
    assert sources.ensure_source(own)
    assert [counts[1:] for counts in source_counts(own)] == [(100, 0, 0, 100), (120, 100, 0, 20)]
    assert sources.ensure_source(own) is None
    monkeypatch.setattr(Server, "is_gone", True)
    assert sources.ensure_source(own) is None
    assert "what was registered from there stays" in caplog.text
    n_asked = len(Server.statuses)
    assert sources.ensure_source(own.model_copy(update={"dataset_sha256": "0" * 64})) is None
    assert len(Server.statuses) == n_asked


# ---- size


@pytest.mark.full
def test_memory_does_not_grow_with_the_known_rows(settings: StackSettings, tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    sample.write_csv(path, n_rows=100_000)
    sources.submit(str(path), settings)
    again = tmp_path / "again.csv"
    again.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
    code = (
        "from readmit.intake import sources; sources.main();"
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    )
    command = [sys.executable, "-c", code, "submit", str(again)]
    output = subprocess.check_output(command, env=raw.environment(settings), text=True)
    assert "100000 known" in output
    assert int(output.split()[-1]) / 1024 < 160, output
