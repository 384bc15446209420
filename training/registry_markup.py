"""The model card as MLflow's page renders it.

That page draws tables without space between their columns and after them, and drops styles. The
titles of columns are filled up with spaces instead.
"""

from collections.abc import Sequence
from itertools import groupby
from math import ceil

EM_SPACE = "\u2003"
# A space at the end of a cell is kept as an entity only.
LAST_SPACE = "&emsp;"
EM_PER_CHARACTER = 0.56
EMPTY_LINE = "&nbsp;"


def with_spaced_tables(card: str) -> str:
    """Return a card in Markdown whose tables have space between their columns and below them."""
    lines: list[str] = []
    for is_table, group in groupby(card.splitlines(), key=_is_row):
        if is_table:
            header, *rows = group
            lines += [_spaced(header, rows), *rows, "", EMPTY_LINE]
        else:
            lines += group
    return "\n".join(lines) + "\n"


def _is_row(line: str) -> bool:
    return line.startswith("|")


def _spaced(header: str, rows: Sequence[str]) -> str:
    """Return the first line of a table with each title as wide as the widest cell below it."""
    columns = zip(*map(_cells, rows), strict=True)
    titles = []
    for title, values in zip(_cells(header), columns, strict=True):
        missing = max(max(map(len, values)) - len(title), 0)
        titles.append(title + ceil(missing * EM_PER_CHARACTER) * EM_SPACE + LAST_SPACE)
    return f"| {' | '.join(titles)} |"


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]
