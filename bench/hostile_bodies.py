"""Bodies within the limits that cost as much memory or time as a sender can make them cost."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

N_BYTES = 15_000_000  # API_MAX_BODY_BYTES is 16 MB
SMALL_BYTES = 65_000  # of a single stay: 64 kB
N_ROWS = 10_000  # API_MAX_BATCH_ROWS
N_LETTERS = N_BYTES // 2 - 1_000_000  # of two bytes each
BATCH = "/predict/batch"
JSON = "application/json"
CSV = "text/csv"


class HostileBody(NamedTuple):
    """A request; `write` returns its body."""

    path: str
    media_type: str
    write: Callable[[], str]


def bodies(stay: Mapping[str, object], *, number: str, category: str) -> dict[str, HostileBody]:
    """Return hostile bodies by what they are.

    Args:
        stay: a valid request.
        number: a field of it that is a number.
        category: a field of it that is one of some texts.
    """

    unknown_keys = partial(_unknown_keys, N_BYTES)
    few_keys = partial(_unknown_keys, SMALL_BYTES)
    row_of_keys = partial(_unknown_keys, N_BYTES, "[{", "}]")
    return {
        "unknown keys of a stay": HostileBody("/predict", JSON, unknown_keys),
        "unknown keys, to explain": HostileBody("/explain", JSON, unknown_keys),
        "unknown keys, to compare": HostileBody("/compare", JSON, unknown_keys),
        "unknown keys of a row": HostileBody(BATCH, JSON, row_of_keys),
        "keys within the small limit": HostileBody("/predict", JSON, few_keys),
        **_single_stays(stay, number),
        **_batches(stay, number, category),
        **_csv(category),
    }


def _unknown_keys(n_bytes: int, begin: str = "{", end: str = "}") -> str:
    keys = ",".join(f'"{i:x}":0' for i in range(n_bytes // 10))
    return begin + keys[:n_bytes].rpartition(",")[0] + end


def _repeated(begin: str, middle: str, n_times: int, end: str = "") -> str:
    return begin + middle * n_times + end


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def _single_stays(stay: Mapping[str, object], number: str) -> dict[str, HostileBody]:
    """Return single stays within the small limit."""
    begin = json.dumps(stay)[:-1]
    long_number = partial(_repeated, f'{begin},"{number}":', "9", SMALL_BYTES, "}")
    key_many_times = partial(_repeated, begin, ',"a":0', SMALL_BYTES // 6, "}")
    long_list = partial(_repeated, f'{begin},"{number}":[', "0,", SMALL_BYTES // 2, "0]}")
    escapes = partial(_repeated, f'{begin},"a":"', "\\ud800", SMALL_BYTES // 6, '"}')
    return {
        "a long number of a stay": HostileBody("/predict", JSON, long_number),
        "a key of a stay many times": HostileBody("/predict", JSON, partial(_cut, key_many_times)),
        "a list in a stay": HostileBody("/predict", JSON, long_list),
        "deep nesting of a stay": HostileBody("/predict", JSON, partial(_nested, SMALL_BYTES // 2)),
        "escapes in a stay": HostileBody("/explain", JSON, escapes),
    }


def _cut(write: Callable[[], str]) -> str:
    return write()[:SMALL_BYTES]


def _batches(stay: Mapping[str, object], number: str, category: str) -> dict[str, HostileBody]:
    row = json.dumps(stay)
    row += " " * (N_BYTES // N_ROWS - len(row) - 3)
    key = f'"{category}":"x"'
    mark = "ñ"
    long_text = json.dumps([dict(stay) | {category: mark}], ensure_ascii=False).split(mark)
    long_number = f'{{"{number}":' + "9" * 1_400 + "}"
    wrong = json.dumps({category: "x", "a": 1, "b": 2})
    items = {
        "empty rows": partial(_repeated, "[", "{},", N_BYTES // 3, "{}]"),
        "empty lists": partial(_repeated, "[", "[],", N_BYTES // 3, "[]]"),
        "numbers for rows": partial(_repeated, "[", "0,", N_BYTES // 2, "0]"),
        "texts for rows": partial(_repeated, "[", '"",', N_BYTES // 3, '""]'),
        "a key many times": partial(
            _repeated, f"[{{{key}", f",{key}", N_BYTES // (len(key) + 1), "}]"
        ),
        "a long text": partial(_repeated, long_text[0], mark, N_LETTERS, long_text[1]),
        "a long number": partial(_repeated, f'[{{"{number}":', "9", N_BYTES, "}]"),
        "long numbers": partial(_repeated, "[", f"{long_number},", N_ROWS - 1, f"{long_number}]"),
        "deep nesting": partial(_nested, N_BYTES // 2),
        "errors in every row": partial(_repeated, "[", f"{wrong}, ", N_ROWS - 2, f"{wrong}]"),
        "as many rows as allowed": partial(_repeated, "[", f"{row},", N_ROWS - 1, f"{row}]"),
    }
    return {name: HostileBody(BATCH, JSON, write) for name, write in items.items()}


def _csv(category: str) -> dict[str, HostileBody]:
    wrong_row = "x" * (N_BYTES // N_ROWS - 4) + ",1\n"
    items = {
        "many columns of a CSV": partial(_repeated, "", "a,", N_BYTES // 2, "\n1"),
        "many lines of a CSV": partial(_repeated, f"{category}\n", "\n", N_BYTES),
        "a long cell of a CSV": partial(_repeated, f"{category}\n", "ñ", N_LETTERS),
        "wrong cells of a CSV": partial(_repeated, f"{category},a\n", wrong_row, N_ROWS),
    }
    return {name: HostileBody(BATCH, CSV, write) for name, write in items.items()}
