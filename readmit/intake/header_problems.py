"""Why a line is no header of the source, and what to do about it."""

import codecs
import re
from collections.abc import Iterable, Sequence

from readmit.errors import printable
from readmit.intake.layout import COLUMNS, MAX_LINE_BYTES
from readmit.tables.delimiters import delimiter_of, name_key, names_in
from readmit.tables.encodings import NO_BREAK_SPACE

KNOWN_NAMES = {name_key(column): column for column in COLUMNS}
MAX_NAMES = 5  # names listed in a message
MAX_TITLE_LINES = 20  # lines above the header that are looked through
HALF = len(COLUMNS) // 2
# The files that explain the codes have two columns: UCI's archive holds them beside the data.
CODES = ("admission_type_id", "discharge_disposition_id", "admission_source_id")
# The columns that `ucimlrepo` keeps apart from the others.
UCIMLREPO_APART = ("encounter_id", "patient_nbr")
# Names that only one other table about these stays has, and what that table is.
OTHER_TABLES: dict[str, str] = {
    "readmit_30_days": "this is fairlearn's copy, which groups values and lacks the ids",
    "readmit_binary": "this is fairlearn's copy, which groups values and lacks the ids",
    "age_band": "this is a table for the form's page *Batch*, which scores it",
}
CONTROL_CHARACTER = re.compile(rb"[^\t\r\n\x20-\x7e\x80-\xff]")


def not_text(line: bytes) -> str:
    """Return why this cannot be the header of a CSV, or an empty text."""
    if not line:
        return "the file is empty; send a CSV with a header and rows"
    if not line.isascii() or CONTROL_CHARACTER.search(line):
        return f"the header is not ASCII text; {_remedy_for_bytes(line)}"
    if b"\r" in line.rstrip(b"\r\n"):
        return "a carriage return inside the header; end lines with LF or CR LF"
    if len(line) == MAX_LINE_BYTES:
        return f"no line end within {MAX_LINE_BYTES} bytes; is this a CSV with one row per line?"
    return ""


def _remedy_for_bytes(line: bytes) -> str:
    """Return what to do about a header with bytes that are not ASCII, or no text."""
    if codecs.BOM_UTF8 in line:
        return "remove the byte order mark inside it"
    if CONTROL_CHARACTER.search(line):
        return "is this a CSV?"
    if NO_BREAK_SPACE in line:
        return "remove the no-break space in it, which looks like an ordinary one"
    return f"name the columns as the source does: {', '.join(COLUMNS[:3])}, ..."


def wrong_columns(columns: Sequence[str], line: bytes, next_lines: bytes) -> tuple[str, str]:
    """Return the column and the problem of a header with missing, repeated or unknown columns.

    Args:
        columns: of the header, under the source's names where they are known.
        line: the header.
        next_lines: what follows it.
    """
    missing = [column for column in COLUMNS if column not in columns]
    unknown = [column for column in columns if column not in COLUMNS]
    repeated = sorted(column for column in COLUMNS if columns.count(column) > 1)
    count = f"{len(COLUMNS)} columns are expected, {len(columns)} found"
    if len(columns) == 2 and columns[0] in CODES and columns[1].lower() == "description":
        return columns[0], "this is the table of codes, not the encounters; send diabetic_data.csv"
    if repeated:
        return repeated[0], f"named more than once ({', '.join(repeated)}); {count}"
    if missing:
        problem = f"missing: {_first_names(missing)}"
        if unknown and len(missing) <= HALF:
            problem += f"; unknown: {_unknown_names(unknown)}"
        elif unknown:
            # This line may be a row of a patient, or another page: nothing of it is repeated.
            problem += f"; unknown: {len(unknown)}"
        return missing[0], f"{problem}; {count}; {_hint(missing, unknown, line, next_lines)}"
    column = _unknown_names(unknown[:1]) if len(unknown) <= MAX_NAMES else COLUMNS[-1]
    return column, f"unknown: {_unknown_names(unknown)}; {count}; remove what is unknown"


def _hint(missing: Sequence[str], unknown: Sequence[str], line: bytes, next_lines: bytes) -> str:
    """Return what a header with missing columns may be, and what to do."""
    for column, title in OTHER_TABLES.items():
        if column in unknown:
            return f"{title}; send UCI's diabetic_data.csv"
    if {*UCIMLREPO_APART} <= {*missing} <= {*UCIMLREPO_APART, "readmitted"}:
        return "of ucimlrepo's answer save data.original: data.features lacks the ids"
    if missing == ["readmitted"] and not unknown:
        return "stays without their label are scored by the form's page *Batch*, not loaded"
    if len(missing) > HALF:
        return _hint_of_layout(line, next_lines)
    if len(unknown) > len(COLUMNS):
        return "is each row on a line of its own?"
    return "rename what is unknown" if unknown else "add the missing columns"


def _hint_of_layout(line: bytes, next_lines: bytes) -> str:
    """Return where the names of most columns may be."""
    for n_lines, next_line in enumerate(next_lines.splitlines()[:MAX_TITLE_LINES], start=1):
        if _n_known(names_in(next_line, delimiter_of(next_line, KNOWN_NAMES))) > HALF:
            return f"the names stand {n_lines} line(s) further down; remove what is above them"
    if _n_known(re.split(r"[^\w.-]+", line.decode("ascii", "replace"))) > HALF:
        return (
            "the names are there: separate names and values by commas, semicolons, tabs or bars, "
            'and quote by " only'
        )
    return "is the header there, in the source's words, and is this UCI's dataset 296?"


def _n_known(names: Iterable[str]) -> int:
    return len({name_key(name) for name in names}.intersection(KNOWN_NAMES))


def _unknown_names(names: Sequence[str]) -> str:
    """Name a few unknown columns. Many may be the values of a row: no message may have those."""
    if len(names) > MAX_NAMES:
        return str(len(names))
    return _first_names(names)


def _first_names(names: Sequence[str]) -> str:
    text = ", ".join(printable(name[:40]) or "(no name)" for name in names[:MAX_NAMES])
    if len(names) > MAX_NAMES:
        text += f" and {len(names) - MAX_NAMES} more"
    return text
