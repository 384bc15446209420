"""Rows in canonical form: the columns of the source in order, commas, quotes only where needed.

A plain comma file has this form. So the same table has the same `content_sha256` in every dialect.
"""

from operator import itemgetter

from readmit.intake.csv_fields import refusal, values_of
from readmit.intake.csv_rows import Block
from readmit.intake.dialect import Dialect
from readmit.intake.layout import COLUMNS

NO_ROW_NUMBER = "an unknown column that holds something other than row numbers; remove it"


def canonical(block: Block, name: str, dialect: Dialect) -> Block:
    """Return the rows of a block in canonical form.

    Args:
        block: checked rows as they stand in the file.
        name: what error messages call the file.
        dialect: of the file.

    Raises:
        SourceRefused: a column that would be left out holds something other than row numbers.
    """
    is_comma = dialect.delimiter == b","
    if dialect.has_own_order:
        pick = itemgetter(*dialect.positions)
        reordered = []
        for row, line in enumerate(block.lines, block.first_row):
            values = values_of(line, dialect.delimiter)
            for position in dialect.index_columns:
                if values[position] and not values[position].isdigit():
                    column = dialect.columns[position]
                    raise refusal(name, row, column, NO_ROW_NUMBER, dialect.header_line)
            reordered.append(_joined(pick(values)))
        return Block(block.first_row, reordered)
    if is_comma and not block.has_quotes:
        return block
    lines = []
    for line in block.lines:
        if is_comma and b'"' not in line:
            lines.append(line)
        else:
            lines.append(_joined(values_of(line, dialect.delimiter)))
    return Block(block.first_row, lines)


def _joined(values: list[bytes] | tuple[bytes, ...]) -> bytes:
    line = b",".join(values)
    if b'"' not in line and line.count(b",") == len(COLUMNS) - 1:
        return line
    fields = []
    for value in values:
        if b"," in value or b'"' in value:
            fields.append(b'"%b"' % value.replace(b'"', b'""'))
        else:
            fields.append(value)
    return b",".join(fields)
