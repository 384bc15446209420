"""The split is a stable function of the patient; slices hold whole patients and each row once."""

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


def numbers_of(part: Slice) -> list[int]:
    """Return the row numbers of a slice, which stand before the second comma of its lines."""
    return [int(line.split(b",", 2)[1]) for line in part.body.splitlines()]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "sample.csv"
    sample.write_csv(path, n_rows=4_000)
    return path


@pytest.fixture(scope="module")
def parts(source: Path) -> list[Slice]:
    return list(cut(numbered_rows(read_blocks(source, source.name)), SHA, batch_size=1_000))


def test_known_patients_stay_where_they_are() -> None:
    """Another hash would move patients between splits and leak: these splits must never change."""
    assert split_of(8222157) == "train"
    assert split_of(55629189) == "test"
    assert split_of(86047875) == "test"
    assert split_of(82442376) == "train"
    assert split_of(42519267) == "train"
    assert split_of(135) == "train"


@pytest.mark.parametrize("spelling", ["8222157", b"8222157", b" 8222157", b"0008222157 "])
def test_spelling_of_the_number_does_not_matter(spelling: str | bytes) -> None:
    assert split_of(spelling) == split_of(8222157)


def test_shares_are_70_15_15() -> None:
    splits = [split_of(n) for n in range(20_000)]
    assert splits.count("train") / 20_000 == pytest.approx(0.70, abs=0.01)
    assert splits.count("validation") / 20_000 == pytest.approx(0.15, abs=0.01)


def test_every_row_is_in_one_slice_once(source: Path, parts: list[Slice]) -> None:
    numbered = []
    for part in parts:
        for line in part.body.splitlines():
            _, number, row = line.split(b",", 2)
            numbered.append((int(number), row))
    numbered.sort()
    rows = source.read_bytes().split(b"\r\n")[1:-1]
    assert numbered == list(enumerate(rows, start=1))
    assert len(rows) == 4_000


def test_slices_are_named_sized_and_ordered(parts: list[Slice]) -> None:
    train = [part for part in parts if part.split == "train"]
    assert [part.batch_id for part in train] == [
        "train-001-01234567",
        "train-002-01234567",
        "train-003-01234567",
    ]
    assert (train[0].n_rows, train[1].n_rows) == (1_000, 1_000)
    splits = [part.split for part in parts]
    assert splits.count("validation") == splits.count("test") == 1
    for part in parts:
        numbers = numbers_of(part)
        assert numbers == sorted(numbers)
        assert part.first_source_row == numbers[0]
        assert part.last_source_row == numbers[-1]
        assert part.n_rows == len(numbers)


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
        expected = hashlib.sha256()
        for number in numbers_of(part):
            expected.update(lines[number - 1] + b"\n")
        assert part.content_sha256 == expected.hexdigest() == content_of(part.body)


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
    for size in (1, 77, 1 << 20):
        assert content_of(body, size) == parts[0].content_sha256
    assert content_of(body[:-1]) != parts[0].content_sha256
