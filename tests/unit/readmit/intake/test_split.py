"""The split is a stable function of the patient; slices hold every row once, whole patients, in
file order.
"""

import hashlib
import io
from pathlib import Path

import pytest

from readmit.intake import sample
from readmit.intake.csv_fields import values_of
from readmit.intake.csv_file import read_blocks
from readmit.intake.csv_rows import numbered_rows
from readmit.intake.slices import Checked, Slice, cut
from readmit.intake.split import split_of

SHA = "0123456789abcdef" * 4


def content_of(body: bytes, size: int = 1_000) -> str:
    checked = Checked(io.BytesIO(body))
    while checked.read(size):
        pass
    return checked.content_sha256()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "sample.csv"
    sample.write_csv(path, n_rows=4_000)
    return path


@pytest.fixture(scope="module")
def parts(source: Path) -> list[Slice]:
    return list(cut(numbered_rows(read_blocks(source, source.name)), SHA, batch_size=1_000))


def test_known_patients_stay_where_they_are() -> None:
    """Another hash would move patients between splits and leak: these places must never change."""
    patients = (8222157, 55629189, 86047875, 82442376, 42519267, 135)
    assert [split_of(patient) for patient in patients] == [
        "train",
        "test",
        "test",
        "train",
        "train",
        "train",
    ]


def test_spelling_of_the_number_does_not_matter() -> None:
    assert (
        len(
            {
                split_of(spelling)
                for spelling in (8222157, "8222157", b"8222157", b" 8222157", b"0008222157 ")
            }
        )
        == 1
    )


def test_shares_are_70_15_15() -> None:
    places = [split_of(n) for n in range(20_000)]
    assert places.count("train") / 20_000 == pytest.approx(0.70, abs=0.01)
    assert places.count("validation") / 20_000 == pytest.approx(0.15, abs=0.01)


def test_every_row_is_in_one_slice_once(source: Path, parts: list[Slice]) -> None:
    rows = sorted(int(line.split(b",", 2)[1]) for part in parts for line in part.body.splitlines())
    assert rows == list(range(1, 4_001))
    by_row = {
        int(line.split(b",", 2)[1]): line.split(b",", 2)[2]
        for part in parts
        for line in part.body.splitlines()
    }
    assert [by_row[n] for n in range(1, 4_001)] == source.read_bytes().split(b"\r\n")[1:-1]


def test_slices_are_named_sized_and_ordered(parts: list[Slice]) -> None:
    train = [part for part in parts if part.split == "train"]
    assert [part.batch_id for part in train] == [
        "train-001-01234567",
        "train-002-01234567",
        "train-003-01234567",
    ]
    assert [part.n_rows for part in train[:-1]] == [1_000, 1_000]
    assert (
        [part.split for part in parts].count("validation")
        == [part.split for part in parts].count("test")
        == 1
    )
    for part in parts:
        rows = [int(line.split(b",", 2)[1]) for line in part.body.splitlines()]
        assert rows == sorted(rows)
        assert (part.first_source_row, part.last_source_row, part.n_rows) == (
            rows[0],
            rows[-1],
            len(rows),
        )


def test_no_patient_is_in_two_splits(parts: list[Slice]) -> None:
    split_by_patient: dict[bytes, str] = {}
    for part in parts:
        for line in part.body.splitlines():
            patient = values_of(line.split(b",", 2)[2])[1]
            assert split_by_patient.setdefault(patient, part.split) == part.split


def test_content_hash_is_over_the_rows_as_they_stand_in_the_file(
    source: Path, parts: list[Slice]
) -> None:
    lines = source.read_bytes().split(b"\r\n")[1:-1]
    for part in parts:
        rows = [int(line.split(b",", 2)[1]) for line in part.body.splitlines()]
        expected = hashlib.sha256(b"".join(lines[row - 1] + b"\n" for row in rows)).hexdigest()
        assert part.content_sha256 == expected == content_of(part.body)


def test_content_hash_does_not_depend_on_file_or_line_ends(
    source: Path, parts: list[Slice], tmp_path: Path
) -> None:
    other = tmp_path / "unix.csv"
    other.write_bytes(source.read_bytes().replace(b"\r\n", b"\n"))
    again = list(cut(numbered_rows(read_blocks(other, other.name)), "f" * 64, batch_size=1_000))
    assert [part.content_sha256 for part in again] == [part.content_sha256 for part in parts]


def test_a_changed_byte_changes_the_content_hash(parts: list[Slice]) -> None:
    body = parts[0].body
    assert content_of(body[:-3] + b"X" + body[-2:]) != parts[0].content_sha256


def test_content_hash_does_not_depend_on_how_it_is_read_and_notices_a_cut(
    parts: list[Slice],
) -> None:
    body = parts[0].body
    assert {content_of(body, size) for size in (1, 77, 1 << 20)} == {parts[0].content_sha256}
    assert content_of(body[:-1]) != parts[0].content_sha256
