"""Bodies within the limits that cost as much memory or time as a sender can make them cost."""

import json
from collections.abc import Mapping
from typing import NamedTuple

N_BYTES = 15_000_000  # API_MAX_BODY_BYTES is 16 MB
SMALL_BYTES = 65_000  # of a single stay: 64 kB
N_ROWS = 10_000  # API_MAX_BATCH_ROWS
BATCH = "/predict/batch"
JSON = "application/json"
CSV = "text/csv"


class HostileBody(NamedTuple):
    """A request."""

    path: str
    media_type: str
    text: str


def bodies(stay: Mapping[str, object], *, number: str, category: str) -> dict[str, HostileBody]:
    """Return hostile bodies by what they are.

    Args:
        stay: a valid request.
        number: a field of it that is a number.
        category: a field of it that is one of some texts.
    """
    keys = _keys(N_BYTES)
    few_keys = _keys(SMALL_BYTES)
    return {
        "unknown keys of a stay": HostileBody("/predict", JSON, f"{{{keys}}}"),
        "unknown keys, to explain": HostileBody("/explain", JSON, f"{{{keys}}}"),
        "unknown keys, to compare": HostileBody("/compare", JSON, f"{{{keys}}}"),
        "unknown keys of a row": HostileBody(BATCH, JSON, f"[{{{keys}}}]"),
        "keys within the small limit": HostileBody("/predict", JSON, f"{{{few_keys}}}"),
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
    depth = SMALL_BYTES // 2
    return {
        "a long number of a stay": HostileBody("/predict", JSON, f'{begin},"{number}":{digits}}}'),
        "a key of a stay many times": HostileBody("/predict", JSON, f"{begin}{pairs}}}"[:65_000]),
        "a list in a stay": HostileBody("/predict", JSON, f'{begin},"{number}":[{values}0]}}'),
        "deep nesting of a stay": HostileBody("/predict", JSON, "[" * depth + "]" * depth),
        "escapes in a stay": HostileBody(
            "/explain", JSON, f'{begin},"a":"' + "\\ud800" * (SMALL_BYTES // 6) + '"}'
        ),
    }


def _batches(stay: Mapping[str, object], number: str, category: str) -> dict[str, HostileBody]:
    row = json.dumps(stay)
    text = "ñ" * (N_BYTES // 2 - 1_000_000)
    wrong = json.dumps([{category: "x", "a": 1, "b": 2}] * (N_ROWS - 1))
    spaces = " " * (N_BYTES // N_ROWS - len(row) - 3)
    padded = ",".join([row + spaces] * N_ROWS)
    pair = f',"{category}":"x"'
    items = {
        "empty rows": "[" + "{}," * (N_BYTES // 3) + "{}]",
        "empty lists": "[" + "[]," * (N_BYTES // 3) + "[]]",
        "numbers for rows": "[" + "0," * (N_BYTES // 2) + "0]",
        "texts for rows": "[" + '"",' * (N_BYTES // 3) + '""]',
        "a key many times": f'[{{"{category}":"x"' + pair * (N_BYTES // len(pair)) + "}]",
        "a long text": json.dumps([dict(stay) | {category: text}], ensure_ascii=False),
        "a long number": f'[{{"{number}":' + "9" * N_BYTES + "}]",
        "long numbers": "[" + ",".join([f'{{"{number}":' + "9" * 1_400 + "}"] * N_ROWS) + "]",
        "deep nesting": "[" * (N_BYTES // 2) + "]" * (N_BYTES // 2),
        "errors in every row": wrong,
        "as many rows as allowed": "[" + padded + "]",
    }
    return {name: HostileBody(BATCH, JSON, text) for name, text in items.items()}


def _csv(category: str) -> dict[str, HostileBody]:
    text = "ñ" * (N_BYTES // 2 - 1_000_000)
    wrong_cell = "x" * (N_BYTES // N_ROWS - 4)
    items = {
        "many columns of a CSV": "a," * (N_BYTES // 2) + "\n1",
        "many lines of a CSV": f"{category}\n" + "\n" * N_BYTES,
        "a long cell of a CSV": f"{category}\n{text}",
        "wrong cells of a CSV": f"{category},a\n" + f"{wrong_cell},1\n" * N_ROWS,
    }
    return {name: HostileBody(BATCH, CSV, text) for name, text in items.items()}
