"""Bodies within the limits that cost as much memory or time as a sender can make them cost."""

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

N_BYTES = 15_000_000  # API_MAX_BODY_BYTES is 16 MB
SMALL_BYTES = 65_000  # of a single stay: 64 kB
N_ROWS = 10_000  # API_MAX_BATCH_ROWS
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

    def unknown_keys() -> str:
        return f"{{{_keys(N_BYTES)}}}"

    return {
        "unknown keys of a stay": HostileBody("/predict", JSON, unknown_keys),
        "unknown keys, to explain": HostileBody("/explain", JSON, unknown_keys),
        "unknown keys, to compare": HostileBody("/compare", JSON, unknown_keys),
        "unknown keys of a row": HostileBody(BATCH, JSON, lambda: f"[{unknown_keys()}]"),
        "keys within the small limit": HostileBody(
            "/predict", JSON, lambda: f"{{{_keys(SMALL_BYTES)}}}"
        ),
        **_single_stays(stay, number),
        **_batches(stay, number, category),
        **_csv(category),
    }


def _keys(n_bytes: int) -> str:
    keys = ",".join(f'"{i:x}":0' for i in range(n_bytes // 10))
    return keys[:n_bytes].rpartition(",")[0]


def _single_stays(stay: Mapping[str, object], number: str) -> dict[str, HostileBody]:
    """Return single stays within the small limit."""
    begin = json.dumps(stay)[:-1]
    digits = "9" * SMALL_BYTES
    pairs = ',"a":0' * (SMALL_BYTES // 6)
    values = "0," * (SMALL_BYTES // 2)
    escapes = "\\ud800" * (SMALL_BYTES // 6)
    depth = SMALL_BYTES // 2
    predict: dict[str, Callable[[], str]] = {
        "a long number of a stay": lambda: f'{begin},"{number}":{digits}}}',
        "a key of a stay many times": lambda: f"{begin}{pairs}}}"[:65_000],
        "a list in a stay": lambda: f'{begin},"{number}":[{values}0]}}',
        "deep nesting of a stay": lambda: "[" * depth + "]" * depth,
    }
    stays = {name: HostileBody("/predict", JSON, write) for name, write in predict.items()}
    to_explain = HostileBody("/explain", JSON, lambda: f'{begin},"a":"{escapes}"}}')
    return {**stays, "escapes in a stay": to_explain}


def _batches(stay: Mapping[str, object], number: str, category: str) -> dict[str, HostileBody]:
    row = json.dumps(stay)
    spaces = " " * (N_BYTES // N_ROWS - len(row) - 3)
    pair = f',"{category}":"x"'
    wrong = {category: "x", "a": 1, "b": 2}
    long_number = f'{{"{number}":' + "9" * 1_400 + "}"
    items: dict[str, Callable[[], str]] = {
        "empty rows": lambda: "[" + "{}," * (N_BYTES // 3) + "{}]",
        "empty lists": lambda: "[" + "[]," * (N_BYTES // 3) + "[]]",
        "numbers for rows": lambda: "[" + "0," * (N_BYTES // 2) + "0]",
        "texts for rows": lambda: "[" + '"",' * (N_BYTES // 3) + '""]',
        "a key many times": lambda: f'[{{"{category}":"x"' + pair * (N_BYTES // len(pair)) + "}]",
        "a long text": lambda: json.dumps(
            [dict(stay) | {category: _long_text()}], ensure_ascii=False
        ),
        "a long number": lambda: f'[{{"{number}":' + "9" * N_BYTES + "}]",
        "long numbers": lambda: "[" + ",".join([long_number] * N_ROWS) + "]",
        "deep nesting": lambda: "[" * (N_BYTES // 2) + "]" * (N_BYTES // 2),
        "errors in every row": lambda: json.dumps([wrong] * (N_ROWS - 1)),
        "as many rows as allowed": lambda: "[" + ",".join([row + spaces] * N_ROWS) + "]",
    }
    return {name: HostileBody(BATCH, JSON, write) for name, write in items.items()}


def _long_text() -> str:
    return "ñ" * (N_BYTES // 2 - 1_000_000)


def _csv(category: str) -> dict[str, HostileBody]:
    wrong_cell = "x" * (N_BYTES // N_ROWS - 4)
    items: dict[str, Callable[[], str]] = {
        "many columns of a CSV": lambda: "a," * (N_BYTES // 2) + "\n1",
        "many lines of a CSV": lambda: f"{category}\n" + "\n" * N_BYTES,
        "a long cell of a CSV": lambda: f"{category}\n{_long_text()}",
        "wrong cells of a CSV": lambda: f"{category},a\n" + f"{wrong_cell},1\n" * N_ROWS,
    }
    return {name: HostileBody(BATCH, CSV, write) for name, write in items.items()}
