"""A file that cannot be loaded unchanged is refused; the message names file, row, column and remedy."""

from pathlib import Path

import pytest

from readmit.errors import SourceRefused
from readmit.intake import source_file
from readmit.intake.csv_fields import values_of
from readmit.intake.csv_file import read_blocks
from readmit.intake.layout import COLUMNS, MAX_FIELD_BYTES

HEADER = ",".join(COLUMNS).encode()
ROW = b",".join(b"%d" % n for n in range(len(COLUMNS)))


def csv_of(*lines: bytes, end: bytes = b"\r\n") -> bytes:
    return end.join([*lines, b""])


def replaced(column: str, value: bytes, row: bytes = ROW) -> bytes:
    values = row.split(b",")
    values[COLUMNS.index(column)] = value
    return b",".join(values)


def read(tmp_path: Path, data: bytes) -> list[bytes]:
    path = tmp_path / "given.csv"
    path.write_bytes(data)
    return [line for block in read_blocks(path, "given.csv") for line in block.lines]


REFUSED: dict[str, tuple[bytes, str, str, str]] = {
    "empty file": (b"", "header", "encounter_id", "empty"),
    "header only": (csv_of(HEADER), "row 1", "encounter_id", "no rows"),
    "no header": (csv_of(ROW, ROW), "header", "encounter_id", "missing"),
    "missing column": (
        csv_of(HEADER.replace(b",insulin,", b","), ROW), "header", "insulin", "50 columns are expected, 49"),
    "extra column": (csv_of(HEADER + b",note", ROW + b",x"), "header", "note", "unknown"),
    "renamed column": (csv_of(HEADER.replace(b"A1Cresult", b"a1c")), "header", "A1Cresult", "unknown: a1c"),
    "column named twice": (csv_of(HEADER.replace(b"diag_3", b"diag_2")), "header", "diag_2", "more than once"),
    "semicolons in the header only": (
        csv_of(HEADER.replace(b",", b";"), ROW), "row 1", "patient_nbr", "1 field, 50 expected"),
    "UTF-32": (HEADER.decode().encode("utf-32"), "header", "encounter_id", "UTF-32"),
    "byte order mark behind a blank": (
        b" \xef\xbb\xbf" + csv_of(HEADER, ROW), "header", "encounter_id", "not ASCII"),
    "web page": (b"<!doctype html><html>\n</html>\n", "header", "encounter_id", "web page"),
    "binary file": (bytes(range(256)) * 10, "header", "encounter_id", "not ASCII"),
    "51 fields in one row": (csv_of(HEADER, ROW, ROW + b",x"), "row 2 (line 3)", "readmitted", "51 fields"),
    "49 fields in one row": (csv_of(HEADER, ROW, ROW.rsplit(b",", 1)[0]), "row 2 (line 3)", "readmitted", "49 fields"),
    "cut off in the last row": (csv_of(HEADER, ROW, ROW)[:-60], "row 2", "glyburide", "cut off"),
    "blank line inside": (csv_of(HEADER, ROW, b"", ROW), "row 2", "encounter_id", "blank"),
    "NUL byte": (csv_of(HEADER, ROW, replaced("race", b"a\0b")), "row 2", "race", "NUL byte at byte 6"),
    "UTF-8 letter": (csv_of(HEADER, replaced("medical_specialty", "é".encode())), "row 1", "medical_specialty", "0xc3"),
    "Latin-1 letter": (csv_of(HEADER, replaced("payer_code", b"\xe9")), "row 1", "payer_code", "0xe9"),
    "quote not closed": (csv_of(HEADER, ROW, replaced("race", b'"x')), "row 2", "race", "not closed"),
    "quote inside a value": (csv_of(HEADER, replaced("diag_1", b'2"x')), "row 1", "diag_1", "inside a value"),
    "line break in quotes": (csv_of(HEADER, replaced("race", b'"a\nb"')), "row 1", "race", "not closed"),
    "text after a quoted value": (csv_of(HEADER, replaced("age", b'"a"b')), "row 1", "age", "inside a value"),
    "carriage return in a value": (csv_of(HEADER, replaced("change", b"N\ro")), "row 1", "change", "carriage return"),
    "huge field": (csv_of(HEADER, ROW, replaced("weight", b"9" * 300)), "row 2", "weight", "300 bytes"),
    "huge quoted field": (csv_of(HEADER, replaced("weight", b'"%b"' % (b"," * 300))), "row 1", "weight", "300 bytes"),
    "line without end": (csv_of(HEADER, ROW) + b"9" * (9 << 20), "row 2", "encounter_id", "no line end"),
    "field longer than a block": (
        csv_of(HEADER, ROW, ROW, replaced("weight", b"9" * (9 << 20)), ROW), "row 3 (line 4)", "weight", "no line end"),
    "huge field in quotes": (csv_of(HEADER, replaced("weight", b'"%b"' % (b"9" * 200_000))), "row 1", "weight", "256"),
    "a million fields": (csv_of(HEADER, ROW, b"," * 999_999), "row 2", "readmitted", "1000000 fields"),
    "header without end": (b"x" * 100_000, "header", "encounter_id", "no line end"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_refusal_names_file_row_and_column(kind: str, tmp_path: Path) -> None:
    data, row, column, problem = REFUSED[kind]
    with pytest.raises(SourceRefused) as refusal:
        read(tmp_path, data)
    message = str(refusal.value)
    assert message.startswith("given.csv: ")
    assert row in message
    assert f"column {column}: " in message
    assert problem in message


def test_a_large_file_that_is_no_csv_is_refused_before_it_is_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sparse.csv"
    with path.open("wb") as file:
        file.truncate(2 << 30)
    monkeypatch.delattr(source_file, "sha256_of")
    with pytest.raises(SourceRefused, match="this is a file of NUL bytes; it was not copied"):
        source_file.fetch_file(path)


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_rows_come_out_byte_for_byte_whatever_the_line_end(end: bytes, tmp_path: Path) -> None:
    spaced = replaced("race", b"  spaced  ")
    assert read(tmp_path, csv_of(HEADER, ROW, spaced, end=end)) == [ROW, spaced]


def test_last_line_needs_no_end_and_blank_lines_after_it_are_ignored(tmp_path: Path) -> None:
    assert read(tmp_path, csv_of(HEADER, ROW).removesuffix(b"\r\n")) == [ROW]
    assert read(tmp_path, csv_of(HEADER, ROW) + b"\r\n\r\n") == [ROW]


def test_whole_values_may_be_quoted(tmp_path: Path) -> None:
    quoted = replaced("medical_specialty", b'"Surgery, ""General"""')
    [line] = read(tmp_path, csv_of(HEADER, quoted))
    assert line == quoted
    assert values_of(line)[COLUMNS.index("medical_specialty")] == b'Surgery, "General"'


def test_longest_legal_field_passes(tmp_path: Path) -> None:
    assert len(read(tmp_path, csv_of(HEADER, replaced("race", b"x" * MAX_FIELD_BYTES)))) == 1


def test_longest_legal_row_passes_wherever_a_block_ends(tmp_path: Path) -> None:
    longest = b",".join([b'"%b"' % (b'""' * MAX_FIELD_BYTES)] * len(COLUMNS))
    assert len(read(tmp_path, csv_of(HEADER, *[longest] * 500))) == 500
    assert values_of(longest) == [b'"' * MAX_FIELD_BYTES] * len(COLUMNS)


def test_rows_are_numbered_through_all_blocks(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_bytes(csv_of(HEADER, *[ROW] * 150_000))
    blocks = list(read_blocks(path, "long.csv"))
    assert len(blocks) > 1
    n_rows = 0
    for block in blocks:
        assert block.first_row == blocks[0].first_row + n_rows
        n_rows += len(block.lines)
    assert n_rows == 150_000


def test_fault_in_a_late_block_is_named_with_its_row(tmp_path: Path) -> None:
    lines = [ROW] * 150_000
    lines[149_000] = ROW + b","
    with pytest.raises(
        SourceRefused, match=r"row 149001 \(line 149002\), column readmitted: 51 fields"
    ):
        read(tmp_path, csv_of(HEADER, *lines))


@pytest.mark.parametrize(
    "content",
    [
        csv_of(HEADER, ROW + b",Jane Roe"),
        csv_of(ROW.replace(b",7,", b",Jane Roe,")),
        b"secret,Jane Roe,of another server\n1,2,3\n",
    ],
    ids=["one value too many", "no header", "another file"],
)
def test_a_refusal_repeats_no_value_of_the_file(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SourceRefused) as refusal:
        read(tmp_path, content)
    assert "Jane" not in str(refusal.value)
    assert "secret" not in str(refusal.value)
