"""Any dialect of one table gives the same rows and hashes, and errors keep their line and column."""

import codecs
import copy
import gzip
import tempfile
import zipfile
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readmit.errors import SourceRefused
from readmit.intake import source_file, zip_archive
from readmit.intake.csv_fields import values_of
from readmit.intake.csv_file import dialect_of, read_blocks
from readmit.intake.csv_rows import numbered_rows
from readmit.intake.layout import COLUMNS
from readmit.intake.sample import write_csv
from readmit.intake.slices import Slice, cut

SHA = "0" * 64
ODD_VALUES = ('Surgery, "General"', "a;b", "c|d", "e\tf", "", "  spaced ", '"')


@dataclass(frozen=True)
class Written:
    """How a table is written as a file."""

    delimiter: str = ","
    codec: str = "ascii"
    mark: bytes = b""
    line_end: str = "\r\n"
    is_quoted: bool = False
    has_separator_line: bool = False
    separator: str = "-"
    is_lower: bool = False
    order: tuple[int, ...] = tuple(range(len(COLUMNS)))
    index_name: str | None = None
    packing: tuple[str, ...] = ()
    has_last_end: bool = True


PLAIN = Written()
ENCODINGS = [
    ("ascii", b""),
    ("ascii", codecs.BOM_UTF8),
    ("utf-16-le", codecs.BOM_UTF16_LE),
    ("utf-16-be", codecs.BOM_UTF16_BE),
    ("utf-16-le", b""),
    ("utf-16-be", b""),
]


@st.composite
def ways(draw: st.DrawFn) -> Written:
    """Draw a way to write a table."""
    codec, mark = draw(st.sampled_from(ENCODINGS))
    return Written(
        delimiter=draw(st.sampled_from(",;\t|")),
        codec=codec,
        mark=mark,
        line_end=draw(st.sampled_from(["\n", "\r\n"])),
        is_quoted=draw(st.booleans()),
        has_separator_line=draw(st.booleans()),
        separator=draw(st.sampled_from("-._ ")),
        is_lower=draw(st.booleans()),
        order=tuple(draw(st.permutations(range(len(COLUMNS))))),
        index_name=draw(st.sampled_from([None, "", "Unnamed: 0", "Unnamed: 0.1", "index"])),
        packing=tuple(draw(st.lists(st.sampled_from(["zip", "gzip"]), max_size=3))),
        has_last_end=draw(st.booleans()),
    )


def quoted(value: str, way: Written) -> str:
    if way.is_quoted or way.delimiter in value or "," in value or '"' in value:
        return '"' + value.replace('"', '""') + '"'
    return value


def line_of(values: list[str], way: Written, index: str) -> str:
    """Write the values of a row in the order of the file, after its index if it has one."""
    cells = [values[position] for position in way.order]
    if way.index_name is not None:
        cells.insert(0, index)
    return way.delimiter.join(quoted(cell, way) for cell in cells)


def file_of(table: list[list[str]], way: Written) -> bytes:
    """Write a table, without its packing."""
    header = [name.replace("-", way.separator) for name in COLUMNS]
    if way.is_lower:
        header = [name.lower() for name in header]
    lines = [line_of(header, way, way.index_name or "")]
    for n, row in enumerate(table):
        lines.append(line_of(row, way, str(n)))
    if way.has_separator_line:
        lines.insert(0, f"sep={way.delimiter}")
    text = way.line_end.join(lines)
    if way.has_last_end:
        text += way.line_end
    return way.mark + text.encode(way.codec)


def packed(data: bytes, packing: tuple[str, ...]) -> bytes:
    name = "diabetic_data.csv"
    for kind in reversed(packing):
        if kind == "gzip":
            data = gzip.compress(data)
            name += ".gz"
            continue
        file = BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, data)
        data = file.getvalue()
        name = "inner.zip"
    return data


def read(data: bytes, way: Written, folder: Path) -> tuple[list[bytes], list[Slice]]:
    """Read a file as intake does: its rows, and its slices."""
    path = folder / "given.csv"
    path.write_bytes(packed(data, way.packing))
    source = source_file.unpack(source_file.fetch_file(path), folder / "cache", None)
    assert source.packing == way.packing
    blocks = list(read_blocks(source.path, source.name))
    lines = [line for block in blocks for line in block.lines]
    return lines, list(cut(numbered_rows(blocks), SHA, 20))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    path = tmp_path_factory.mktemp("good") / "good.csv"
    write_csv(path, n_rows=60)
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    for row, value in zip(rows, ODD_VALUES, strict=False):
        row[COLUMNS.index("medical_specialty")] = value
    return rows


@settings(max_examples=150, deadline=None)
@given(way=ways())
def test_every_dialect_gives_the_same_rows_and_hashes(table: list[list[str]], way: Written) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plain_lines, plain_slices = read(file_of(table, PLAIN), PLAIN, Path(folder))
        lines, slices = read(file_of(table, way), way, Path(folder))
    assert lines == plain_lines
    assert slices == plain_slices  # content_sha256 and body included
    for line, row in zip(lines, table, strict=True):
        assert [value.decode() for value in values_of(line)] == row


def test_plain_file_is_its_own_canonical_form(table: list[list[str]], tmp_path: Path) -> None:
    data = file_of(table, PLAIN)
    lines, _ = read(data, PLAIN, tmp_path)
    header = ",".join(COLUMNS).encode()
    assert b"\r\n".join([header, *lines, b""]) == data


@settings(max_examples=60, deadline=None)
@given(way=ways(), row=st.integers(1, 60), column=st.sampled_from(COLUMNS))
def test_fault_is_named_with_its_line_and_column_in_every_dialect(
    table: list[list[str]], way: Written, row: int, column: str
) -> None:
    bad = copy.deepcopy(table)
    bad[row - 1][COLUMNS.index(column)] = "x" * 300
    line = row + 1 + way.has_separator_line
    with tempfile.TemporaryDirectory() as folder, pytest.raises(SourceRefused) as refusal:
        read(file_of(bad, way), way, Path(folder))
    assert f"row {row} (line {line}), column {column}: 300 bytes" in str(refusal.value)


@pytest.mark.parametrize(
    ("way", "column", "value", "problem"),
    [
        (replace(PLAIN, delimiter=";"), "diag_2", "250,83", "a decimal comma"),
        (replace(PLAIN, delimiter=";"), "num_medications", "3,5", "a decimal comma or a thousands"),
        (replace(PLAIN, delimiter="\t"), "patient_nbr", "1,234", "a decimal comma or a thousands"),
        (PLAIN, "encounter_id", "1.234.567", "a decimal comma or a thousands"),
        (PLAIN, "num_lab_procedures", "1 234", "a decimal comma or a thousands"),
        (PLAIN, "encounter_id", "2.27839E+06", "scientific notation"),
        (replace(PLAIN, delimiter=";"), "patient_nbr", "8,22216E+06", "scientific notation"),
        (replace(PLAIN, codec="utf-16-le"), "race", "é", "a non-ASCII character"),
        (replace(PLAIN, codec="utf-16-be", mark=codecs.BOM_UTF16_BE), "age", "\uffff", "non-ASCII"),
    ],
)  # fmt: skip
def test_a_value_that_can_be_read_in_two_ways_is_refused_with_its_cell(
    table: list[list[str]], tmp_path: Path, way: Written, column: str, value: str, problem: str
) -> None:
    bad = copy.deepcopy(table)
    bad[6][COLUMNS.index(column)] = value
    with pytest.raises(SourceRefused) as refusal:
        read(file_of(bad, way), way, tmp_path)
    message = str(refusal.value)
    assert f"row 7 (line 8), column {column}: " in message
    assert problem in message
    assert value not in message


def test_utf16_that_is_cut_off_is_refused_in_its_last_row(
    table: list[list[str]], tmp_path: Path
) -> None:
    way = replace(PLAIN, codec="utf-16-le", mark=codecs.BOM_UTF16_LE, has_last_end=False)
    with pytest.raises(SourceRefused, match=r"row 60 \(line 61\), column readmitted: a non-ASCII"):
        read(file_of(table, way)[:-1], way, tmp_path)


def test_dialect_is_described_for_the_ledger(table: list[list[str]], tmp_path: Path) -> None:
    way = Written(
        delimiter=";",
        codec="utf-16-le",
        mark=codecs.BOM_UTF16_LE,
        has_separator_line=True,
        separator=".",
        order=tuple(reversed(range(len(COLUMNS)))),
        index_name="Unnamed: 0",
    )
    path = tmp_path / "given.csv"
    path.write_bytes(file_of(table, way))
    assert dialect_of(path, "given.csv").describe(("zip", "gzip")) == (
        "zip; gzip; semicolon; UTF-16 LE; CR LF; a line sep=; other names of columns; "
        "other order of columns; index columns left out: Unnamed: 0"
    )
    path.write_bytes(file_of(table, PLAIN))
    assert dialect_of(path, "given.csv").describe() == "comma; UTF-8; CR LF"


def test_index_column_that_holds_text_is_refused(table: list[list[str]], tmp_path: Path) -> None:
    way = replace(PLAIN, index_name="Unnamed: 0")
    data = file_of(table, way).replace(b"\r\n4,", b"\r\nward,")
    with pytest.raises(SourceRefused, match=r"row 5 \(line 6\), column Unnamed: 0: an unknown"):
        read(data, way, tmp_path)


@pytest.mark.parametrize("packing", [("gzip",), ("zip",), ("zip", "gzip"), ("gzip", "zip")])
def test_bomb_is_refused_before_it_is_unpacked(
    packing: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_archive, "SMALL_BYTES", 1 << 20)
    way = replace(PLAIN, packing=packing)
    with pytest.raises(SourceRefused, match=r"given\.csv: unpacks to more than \d+ MB"):
        read(b"0" * (64 << 20), way, tmp_path)
    for path in (tmp_path / "cache").rglob("*"):
        assert not path.is_file()


def test_nesting_is_bounded(table: list[list[str]], tmp_path: Path) -> None:
    way = replace(PLAIN, packing=("zip",) * 4)
    with pytest.raises(SourceRefused, match=r"packed more than 3 times"):
        read(file_of(table, PLAIN), way, tmp_path)
