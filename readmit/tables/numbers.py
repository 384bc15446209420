"""Numbers in the cells of a text table, as the API and the form read them."""

import re

WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,400}(?:\.0{0,400})?")
NUMBER = re.compile(r"[+-]?(?:[0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,3})?")


def whole_number(cell: str) -> int | str:
    """Return the whole number in a cell: `7`, `+7`, `7.0`; or the cell itself.

    Exponents are not read: a spreadsheet writes them where it has lost digits of an id. Nor is what
    only Python takes for a number: `1_0`, digits of other scripts.
    """
    text = cell.strip(" \t")
    if WHOLE_NUMBER.fullmatch(text) is None:
        return cell
    return int(text.partition(".")[0])


def number(cell: str) -> float | str:
    """Return the number in a cell; the cell itself if it has none, or `nan`, `inf` or `1e999`."""
    text = cell.strip(" \t")
    if NUMBER.fullmatch(text) is None:
        return cell
    value = float(text)
    return cell if value in (float("inf"), float("-inf")) else value
