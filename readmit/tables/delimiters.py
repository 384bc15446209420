"""The delimiter of a text table, decided by its first lines, and names however they are spelled."""

import re
from collections.abc import Collection
from typing import BinaryIO

DELIMITERS = {b",": "comma", b";": "semicolon", b"\t": "tab", b"|": "vertical bar"}
# The first line that tells Excel how fields are separated.
SEPARATOR_LINE = re.compile(rb'"?sep=[,;|\t]"?\r?\n', re.IGNORECASE)
MAX_LINE_BYTES = 1 << 16
MAX_BLANK_LINES = 20
# What pandas, R and spreadsheets call the row numbers that they write in front of the columns.
INDEX_NAME = re.compile(r"|Unnamed: \d+(?:\.\d+)*|index|level_\d+|\.\.\.\d+", re.IGNORECASE)


def name_key(name: str) -> str:
    """Return a name without case and separators: `A1Cresult` and `a1c.result` are one column."""
    return re.sub(r"[-_. ]", "", name).lower()


def names_in(header: bytes, delimiter: bytes) -> list[str]:
    """Return the names in the line of a header."""
    text = header.rstrip(b"\r\n").replace(b'"', b"").decode(errors="replace")
    return [name.strip() for name in text.split(delimiter.decode())]


def delimiter_of(header: bytes, known_keys: Collection[str]) -> bytes:
    """Return the delimiter that shows most known names in a header.

    Args:
        header: the line.
        known_keys: the known names, as `name_key` writes them.
    """

    def n_known(delimiter: bytes) -> int:
        keys = {name_key(name) for name in names_in(header, delimiter)}
        return len(keys.intersection(known_keys))

    return max(DELIMITERS, key=n_known)


def find_header(file: BinaryIO, known_keys: Collection[str]) -> tuple[str, int]:
    """Return the delimiter of a table, and the line of its header (from 1).

    In front of the header may stand blank lines and a line like `sep=;`.

    Args:
        file: at its start, as UTF-8.
        known_keys: see `delimiter_of`.
    """
    for number in range(1, MAX_BLANK_LINES + 2):
        line = file.readline(MAX_LINE_BYTES)
        if line.strip() and not SEPARATOR_LINE.fullmatch(line):
            return delimiter_of(line, known_keys).decode(), number
    return ",", 1
