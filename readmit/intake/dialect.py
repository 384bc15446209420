"""The dialect of a source file: how it writes the columns of the source.

The header decides it (`readmit.intake.csv_header`), the reader of rows follows it, and the ledger
has it as text (`landing.sources.source_dialect`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from readmit.intake.layout import COLUMNS
from readmit.tables.delimiters import DELIMITERS
from readmit.tables.encodings import Encoding


@dataclass(frozen=True)
class Dialect:
    """How a file writes the columns of the source.

    Attributes:
        encoding: of the characters.
        delimiter: the byte between two fields.
        line_end: of the header, "LF" or "CR LF".
        header_line: the line of the header: 2 behind a line like `sep=;`.
        columns: in the order of the file. A column of the source has its own name, whatever the
            header writes; an index column has the name in the header.
        index_columns: positions (from 0) of columns that a tool has added; they are left out.
        has_other_names: whether the header writes a name in another way than the source.
    """

    encoding: Encoding
    delimiter: bytes
    line_end: str
    header_line: int
    columns: tuple[str, ...]
    index_columns: tuple[int, ...]
    has_other_names: bool

    @cached_property
    def has_own_order(self) -> bool:
        """Whether fields must be moved or left out to get the columns of the source."""
        return self.columns != COLUMNS

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """The position in the file of each column of the source."""
        return tuple(self.columns.index(column) for column in COLUMNS)

    def describe(self, packing: Sequence[str] = ()) -> str:
        """Return the dialect as text for the ledger.

        Args:
            packing: what the file was packed with, outermost first.
        """
        parts = [*packing, DELIMITERS[self.delimiter], self.encoding.title, self.line_end]
        if self.header_line > 1:
            parts.append("a line sep=")
        if self.has_other_names:
            parts.append("other names of columns")
        named = [column for column in self.columns if column in COLUMNS]
        if named != [*COLUMNS]:
            parts.append("other order of columns")
        if self.index_columns:
            names = [self.columns[position] or "(no name)" for position in self.index_columns]
            parts.append(f"index columns left out: {', '.join(names)}")
        return "; ".join(parts)
