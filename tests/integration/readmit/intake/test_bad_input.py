"""Every kind of bad input gets its verdict from the real ledger; `docs/bad-input.md` has them.

Regenerate it: READMIT_WRITE_DOCS=1 python -m pytest
tests/integration/readmit/intake/test_bad_input.py
"""

import re
from operator import attrgetter
from pathlib import Path

import pytest

from readmit.batches import loading
from readmit.errors import SourceRefused
from readmit.intake import sample, source_file, sources
from readmit.intake.csv_fields import values_of
from readmit.intake.csv_file import dialect_of, read_blocks
from readmit.intake.layout import LANDING_COLUMNS
from readmit.intake.profile import check_profile
from readmit.settings import StackSettings
from tests.support import raw
from tests.support.bad_input import JUDGED, KINDS, REFUSED, SAME, Kind
from tests.support.bad_input_page import check_section, table

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "good.csv"
    sample.write_csv(path, n_rows=60)
    return path.read_bytes()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> StackSettings:
    return raw.fresh(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def good_hashes(good: bytes, tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    folder = tmp_path_factory.mktemp("plain")
    path = folder / "plain.csv"
    path.write_bytes(good)
    own_settings = raw.fresh(folder)
    sources.submit(str(path), own_settings)
    return hashes(own_settings)


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> StackSettings:
    return raw.fresh(tmp_path_factory.mktemp("landing"))


@pytest.fixture
def empty(landing: StackSettings, tmp_path: Path) -> StackSettings:
    """Databases that no file has reached: the same for all tests, emptied before each."""
    tables = "select format('%%I.%%I', schemaname, tablename) from pg_tables where schemaname = %s"
    names = [name for (name,) in raw.query(landing, landing.raw_database, tables, "landing")]
    statement = f"set session_replication_role = replica; truncate {', '.join(names)} cascade"
    raw.query(landing, landing.raw_database, statement)
    return landing.model_copy(update={"readmit_home": tmp_path})


def hashes(settings: StackSettings) -> set[tuple[str, str]]:
    """Return the hash of what a submitted file brought to each split."""
    statement = "select split, content_sha256 from landing.slices"
    return set(raw.query(settings, settings.raw_database, statement))


def write_bad_file(kind: Kind, good: bytes, folder: Path) -> Path:
    path = folder / "given.csv"
    path.write_bytes(kind.corrupt(good))
    return path


def unpacked(path: Path) -> source_file.LocalSource:
    return source_file.unpack(source_file.fetch_file(path), path.parent / "cache", None)


def message_of(path: Path) -> str:
    """Return why the file is refused, or an empty text."""
    try:
        source = unpacked(path)
        list(check_profile(read_blocks(source.path, source.name), source.name))
    except SourceRefused as refusal:
        return str(refusal)
    return ""


def rows_of(path: Path) -> list[tuple[str, ...]]:
    rows = []
    for block in read_blocks(path, path.name):
        for line in block.lines:
            rows.append(tuple(map(bytes.decode, values_of(line))))
    return rows


def load_all(path: Path, settings: StackSettings) -> list[tuple[str, ...]]:
    """Submit a file, load its batches, and return the rows of RAW in the order of the file."""
    sources.submit(str(path), settings)
    for n in range(3):
        if (batch_id := raw.claim_batch(f"run {n}", settings)) is not None:
            loading.load(batch_id, settings)
    columns = ", ".join(LANDING_COLUMNS)
    statement = f"select {columns} from landing.encounters order by _source_row"
    return raw.query(settings, settings.raw_database, statement)


def test_there_are_more_than_forty_kinds_and_each_has_its_own_name() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) > 40
    assert f"{len(KINDS)} kinds of bad input" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("kind", REFUSED, ids=attrgetter("name"))
def test_refused_kind_names_the_location_and_loads_nothing(
    kind: Kind, good: bytes, settings: StackSettings, tmp_path: Path
) -> None:
    with pytest.raises(SourceRefused, match=r"^given\.csv: ") as refusal:
        sources.submit(str(write_bad_file(kind, good, tmp_path)), settings)
    assert kind.location in str(refusal.value)
    assert (
        raw.query(
            settings,
            settings.raw_database,
            "select 1 from landing.batches where status <> 'refused'",
        )
        == []
    )
    assert (
        raw.query(settings, settings.raw_database, "select 1 from landing.encounters limit 1") == []
    )


@pytest.mark.parametrize("kind", JUDGED, ids=attrgetter("name"))
def test_judged_kind_arrives_in_raw_unchanged(
    kind: Kind, good: bytes, empty: StackSettings, tmp_path: Path
) -> None:
    path = write_bad_file(kind, good, tmp_path)
    assert load_all(path, empty) == rows_of(path)


@pytest.mark.parametrize("kind", SAME, ids=attrgetter("name"))
def test_other_dialect_gives_the_rows_and_hashes_of_the_plain_file(
    kind: Kind,
    good: bytes,
    good_hashes: set[tuple[str, str]],
    empty: StackSettings,
    tmp_path: Path,
) -> None:
    plain = tmp_path / "plain.csv"
    plain.write_bytes(good)
    assert load_all(write_bad_file(kind, good, tmp_path), empty) == rows_of(plain)
    assert hashes(empty) == good_hashes


def test_page_lists_each_kind_with_its_verdict(good: bytes, tmp_path: Path) -> None:
    lines = []
    for kind in KINDS:
        path = write_bad_file(kind, good, tmp_path)
        text = message_of(path)
        verdict = "loaded"
        if text:
            verdict = "refused"
        assert (verdict == "refused") == (kind.verdict == "refused"), kind.name
        if kind.verdict == "same":
            verdict = "same table"
            source = unpacked(path)
            text = dialect_of(source.path, source.name).describe(source.packing)
        lines.append([kind.name, verdict, text])
    check_section(
        "Source files", table(["kind", "verdict of the reader", "message or dialect"], lines)
    )


def test_no_message_holds_a_value_of_a_row(good: bytes, tmp_path: Path) -> None:
    values = set()
    for line in good.removesuffix(b"\r\n").split(b"\r\n")[1:]:
        values.update(line.decode().split(",")[:3])  # the ids and the race
    for kind in REFUSED:
        message = message_of(write_bad_file(kind, good, tmp_path))
        words = set(re.findall(r"[\w.']+", message))
        assert not words & (values - {"Other", "Asian"}), (kind.name, message)
