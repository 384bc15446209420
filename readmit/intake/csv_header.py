"""Check the header of a source CSV, and name the likely mistake when it is wrong."""

from readmit.errors import SourceRefused, printable
from readmit.intake.csv_fields import refusal
from readmit.intake.layout import COLUMNS, MAX_LINE_BYTES

BYTE_ORDER_MARKS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"\xef\xbb\xbf": "UTF-8 with a byte order mark",
}
OTHER_DELIMITERS = {b";": "a semicolon", b"\t": "a tab", b"|": "a vertical bar"}
MAX_NAMES = 5  # names listed in a message


def check_header(line: bytes, name: str) -> None:
    """Check that the first line names the columns of the source, in order.

    Args:
        line: the first line, or its first `MAX_LINE_BYTES` bytes.
        name: what error messages call the file.

    Raises:
        SourceRefused: it does not; the message says what to do.
    """
    problem = _not_text(line)
    if problem:
        raise refusal(name, 0, COLUMNS[0], problem)
    columns = []
    for value in line.rstrip(b"\r\n").replace(b'"', b"").split(b","):
        columns.append(value.strip().decode())
    if tuple(columns) != COLUMNS:
        raise _wrong_columns(columns, line, name)


def _not_text(line: bytes) -> str:
    """Return why this cannot be the header of a CSV, or an empty text."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if line.startswith(mark):
            return f"the file is {encoding}; save it as plain ASCII CSV"
    if not line:
        return "the file is empty; send a CSV with a header and rows"
    if b"\0" in line or not line.isascii():
        return "the header is not ASCII text; is this a CSV?"
    if len(line) == MAX_LINE_BYTES:
        return f"no line end within {MAX_LINE_BYTES} bytes; is this a CSV with one row per line?"
    if line.lstrip().startswith(b"<"):
        return "this is a web page, not a CSV; download the file itself"
    return ""


def _wrong_columns(columns: list[str], line: bytes, name: str) -> SourceRefused:
    if len(columns) == 1:
        for delimiter, title in OTHER_DELIMITERS.items():
            if line.count(delimiter) >= len(COLUMNS) // 2:
                problem = f"columns are separated by {title}; use commas"
                return refusal(name, 0, COLUMNS[0], problem)
    missing = [column for column in COLUMNS if column not in columns]
    unknown = [column for column in columns if column not in COLUMNS]
    repeated = sorted(column for column in COLUMNS if columns.count(column) > 1)
    count = f"{len(COLUMNS)} columns are expected, {len(columns)} found"
    if repeated:
        problem = f"named more than once ({', '.join(repeated)}); {count}"
        return refusal(name, 0, repeated[0], problem)
    if missing:
        problem = f"missing: {_first_names(missing)}"
        if unknown and len(missing) <= len(COLUMNS) // 2:
            problem += f"; unknown: {_first_names(unknown)}"
        elif unknown:
            # This line may be a row of a patient, or another page: nothing of it is repeated.
            problem += f"; unknown: {len(unknown)}"
        return refusal(name, 0, missing[0], f"{problem}; {count}; is the header there?")
    if unknown:
        problem = f"unknown: {_first_names(unknown)}; {count}; remove what is unknown"
        return refusal(name, 0, _first_names(unknown[:1]), problem)
    is_right = [column == expected for column, expected in zip(columns, COLUMNS, strict=True)]
    first_wrong = is_right.index(False)
    problem = f"in the place of {COLUMNS[first_wrong]}; put the columns into the documented order"
    return refusal(name, 0, columns[first_wrong], problem)


def _first_names(names: list[str]) -> str:
    text = ", ".join(printable(name[:40]) or "(no name)" for name in names[:MAX_NAMES])
    if len(names) > MAX_NAMES:
        text += f" and {len(names) - MAX_NAMES} more"
    return text
