"""Read the header of a source CSV: decide the dialect, or name the likely mistake."""

from io import BufferedReader

from readmit.errors import SourceRefused, printable
from readmit.intake.csv_fields import refusal
from readmit.intake.dialect import Dialect
from readmit.intake.file_kinds import foreign_kind
from readmit.intake.layout import COLUMNS, MAX_LINE_BYTES
from readmit.tables.delimiters import (
    INDEX_NAME,
    SEPARATOR_LINE,
    delimiter_of,
    name_key,
    names_in,
)
from readmit.tables.encodings import Encoding

MAX_NAMES = 5  # names listed in a message
# The two columns of the file that explains the codes: UCI's archive holds it beside the data.
CODE_TABLE = ["admission_type_id", "description"]
# The columns that `ucimlrepo` keeps apart from the others.
UCIMLREPO_APART = ("encounter_id", "patient_nbr")


def read_header(file: BufferedReader, encoding: Encoding, name: str) -> Dialect:
    """Read the first line, which names the columns of the source in any order, case and dialect.

    Args:
        file: at its start, as UTF-8; at the first row afterwards.
        encoding: what the file is written in.
        name: what error messages call the file.

    Raises:
        SourceRefused: this is no header of the source; the message says what to do.
    """
    line = file.readline(MAX_LINE_BYTES)
    header_line = 1
    if SEPARATOR_LINE.fullmatch(line):
        line = file.readline(MAX_LINE_BYTES)
        header_line = 2
    problem = foreign_kind(line) or _not_text(line)
    if encoding.title == "UTF-32":
        problem = "the file is UTF-32; save it as UTF-8"
    if problem:
        raise refusal(name, 0, COLUMNS[0], problem, header_line)
    delimiter = delimiter_of(line, _KNOWN)
    written_names = names_in(line, delimiter)
    columns = [_KNOWN.get(name_key(written), written) for written in written_names]
    index_columns = []
    for position, column in enumerate(columns):
        if column not in COLUMNS and INDEX_NAME.fullmatch(column):
            index_columns.append(position)
    data_columns = [column for i, column in enumerate(columns) if i not in index_columns]
    if sorted(data_columns) != sorted(COLUMNS):
        raise _wrong_columns(data_columns, name, header_line)
    return Dialect(
        encoding=encoding,
        delimiter=delimiter,
        line_end="CR LF" if line.endswith(b"\r\n") else "LF",
        header_line=header_line,
        columns=tuple(columns),
        index_columns=tuple(index_columns),
        has_other_names=columns != written_names,
    )


_KNOWN = {name_key(column): column for column in COLUMNS}


def _not_text(line: bytes) -> str:
    """Return why this cannot be the header of a CSV, or an empty text."""
    if not line:
        return "the file is empty; send a CSV with a header and rows"
    if b"\0" in line or not line.isascii():
        return "the header is not ASCII text; is this a CSV?"
    if len(line) == MAX_LINE_BYTES:
        return f"no line end within {MAX_LINE_BYTES} bytes; is this a CSV with one row per line?"
    if b"\r" in line.rstrip(b"\r\n"):
        return "a carriage return inside the header; end lines with LF or CR LF"
    return ""


def _wrong_columns(columns: list[str], name: str, header_line: int) -> SourceRefused:
    """Return the error for a header that lacks columns, or has some twice or too many."""
    missing = [column for column in COLUMNS if column not in columns]
    unknown = [column for column in columns if column not in COLUMNS]
    repeated = sorted(column for column in COLUMNS if columns.count(column) > 1)
    count = f"{len(COLUMNS)} columns are expected, {len(columns)} found"
    if [column.lower() for column in columns] == CODE_TABLE:
        column = CODE_TABLE[0]
        problem = "this is the table of codes, not the encounters; send diabetic_data.csv"
    elif repeated:
        column = repeated[0]
        problem = f"named more than once ({', '.join(repeated)}); {count}"
    elif missing:
        column = missing[0]
        problem = f"missing: {_first_names(missing)}"
        if unknown and len(missing) <= len(COLUMNS) // 2:
            problem += f"; unknown: {_unknown_names(unknown)}"
        elif unknown:
            # This line may be a row of a patient, or another page: nothing of it is repeated.
            problem += f"; unknown: {len(unknown)}"
        hint = "is the header there?"
        if {*UCIMLREPO_APART} <= {*missing} <= {*UCIMLREPO_APART, "readmitted"}:
            hint = "of ucimlrepo's answer save data.original: data.features lacks the ids"
        elif len(missing) > len(COLUMNS) // 2:
            hint = "is the header there, and is this UCI's dataset 296?"
        problem += f"; {count}; {hint}"
    else:
        column = _unknown_names(unknown[:1]) if len(unknown) <= MAX_NAMES else COLUMNS[-1]
        problem = f"unknown: {_unknown_names(unknown)}; {count}; remove what is unknown"
    return refusal(name, 0, column, problem, header_line)


def _unknown_names(names: list[str]) -> str:
    """Name a few unknown columns. Many may be the values of a row: no message may have those."""
    if len(names) > MAX_NAMES:
        return str(len(names))
    return _first_names(names)


def _first_names(names: list[str]) -> str:
    text = ", ".join(printable(name[:40]) or "(no name)" for name in names[:MAX_NAMES])
    if len(names) > MAX_NAMES:
        text += f" and {len(names) - MAX_NAMES} more"
    return text
