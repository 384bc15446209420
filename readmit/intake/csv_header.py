"""Read the header of a source CSV: decide the dialect, or name the likely mistake."""

from io import BufferedReader

from readmit.intake.csv_fields import refusal
from readmit.intake.dialect import Dialect
from readmit.intake.header_problems import KNOWN_NAMES, not_text, wrong_columns
from readmit.intake.layout import COLUMNS, MAX_LINE_BYTES
from readmit.tables.delimiters import (
    INDEX_NAME,
    SEPARATOR_LINE,
    delimiter_of,
    name_key,
    names_in,
)
from readmit.tables.encodings import Encoding
from readmit.tables.file_kinds import N_FIRST_BYTES, foreign_file


def read_header(file: BufferedReader, encoding: Encoding, name: str) -> Dialect:
    """Read the first line, which names the columns of the source in any order, case and dialect.

    Args:
        file: at its start, as UTF-8; at the first row afterwards.
        encoding: what the file is written in.
        name: what error messages call the file.

    Raises:
        SourceRefused: this is no header of the source; the message says what to do.
    """
    kind = foreign_file(file.peek(N_FIRST_BYTES)[:N_FIRST_BYTES])
    line = file.readline(MAX_LINE_BYTES)
    header_line = 1
    if SEPARATOR_LINE.fullmatch(line):
        line = file.readline(MAX_LINE_BYTES)
        header_line = 2
    problem = kind or not_text(line)
    if encoding.title == "UTF-32":
        problem = "the file is UTF-32; save it as UTF-8"
    if problem:
        raise refusal(name, 0, COLUMNS[0], problem, header_line)
    delimiter = delimiter_of(line, KNOWN_NAMES)
    written_names = names_in(line, delimiter)
    columns = [KNOWN_NAMES.get(name_key(written), written) for written in written_names]
    index_columns = []
    for position, column in enumerate(columns):
        if column not in COLUMNS and INDEX_NAME.fullmatch(column):
            index_columns.append(position)
    data_columns = [column for i, column in enumerate(columns) if i not in index_columns]
    if sorted(data_columns) != sorted(COLUMNS):
        column, problem = wrong_columns(data_columns, line, file.peek())
        raise refusal(name, 0, column, problem, header_line)
    return Dialect(
        encoding=encoding,
        delimiter=delimiter,
        line_end="CR LF" if line.endswith(b"\r\n") else "LF",
        header_line=header_line,
        columns=tuple(columns),
        index_columns=tuple(index_columns),
        has_other_names=columns != written_names,
    )
