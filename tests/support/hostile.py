"""Requests that no honest client sends, drawn from a seed."""

import json
import random
from collections.abc import Iterator

from serving.api_settings import ServingSettings
from tests.support.serving import ROW

LIMIT = ServingSettings.model_fields["api_max_body_bytes"].default  # of a batch; others have 64 kB
NAMES = (
    *ROW,
    "n_prior_stays",
    "patient_nbr",
    "encounter_id",
    "contract_hash",
    "__proto__",
    "",
    "x" * 300,
    "\ud800",
)
TYPES = ("application/json",) * 12 + (
    "application/json; charset=utf-16",
    "text/plain",
    "text/csv",
    "image/png",
    "",
    "x",
)
ODD_PATHS = ("/compare?alias=%00", "/model/seeds/%2e%2e", "/nowhere/%ff")
BATCHES = ("/predict/batch", "/predict/batch?trial=true")
PATHS = (
    ("/predict",) * 5 + ("/explain", "/compare", "/compare?alias=challenger") + BATCHES + ODD_PATHS
)
METHODS = ("POST",) * 20 + ("GET", "PUT", "OPTIONS", "DELETE")

Request = tuple[str, str, bytes, str]


def requests(n: int, seed: int = 20) -> Iterator[Request]:
    """Yield method, path, body and content type."""
    draw = random.Random(seed)
    for _ in range(n):
        path = draw.choice(PATHS)
        body = _raw(draw) if draw.random() < 0.4 else _document(draw, is_batch="batch" in path)
        yield draw.choice(METHODS), path, body, draw.choice(TYPES)


def _document(draw: random.Random, *, is_batch: bool) -> bytes:
    """A stay with some fields changed, dropped, added or given twice."""
    if is_batch:
        rows = [_document(draw, is_batch=False) for _ in range(draw.randrange(4))]
        return b'{"rows": [' + b",".join(rows) + b"]}"
    fields = []
    for name, value in ROW.items():
        if draw.random() < 0.9:
            fields.append(f"{json.dumps(name)}: {json.dumps(value)}")
    for _ in range(draw.randrange(3)):
        name = draw.choice(NAMES)
        fields.append(f"{json.dumps(name)}: {json.dumps(_value(draw))}")
    return ("{" + ", ".join(fields) + "}").encode()


def _value(draw: random.Random) -> object:
    kinds = (
        lambda: draw.choice(
            [None, True, False, "", [], {}, "\ud800", "\x00", "Female", "250", "older", ROW]
        ),
        lambda: draw.choice([0, -1, 20, 2**31, 2**63, -(2**63) - 1, 10**400]),
        lambda: draw.choice([float("nan"), float("inf"), -0.0, 1e308, 1e-320, 0.1]),
        lambda: "".join(chr(draw.randrange(0x110000)) for _ in range(draw.randrange(40))),
        lambda: [{"a": [draw.random()] * draw.randrange(50)}],
    )
    return draw.choice(kinds)()


def _raw(draw: random.Random) -> bytes:
    """No stay at all."""
    depth = draw.randrange(1, 50_000)
    whole = json.dumps(ROW).encode()
    kinds = (
        lambda: draw.randbytes(draw.randrange(200)),
        lambda: whole[: draw.randrange(len(whole))],
        lambda: b"[" * depth,
        lambda: b'{"a":' * (depth // 4),
        lambda: b"[" * depth + b"]" * depth,
        lambda: b'{"n_medications": ' + b"9" * depth + b"}",
        lambda: b'{"gender": "' + b"\\ud800" * (depth // 10) + b'"}',
        lambda: b"{" + b'"gender": "Male",' * (depth // 20) + whole[1:],
        lambda: b"\xef\xbb\xbf" + whole,
        lambda: whole.decode().encode("utf-16"),
        lambda: draw.choice(
            [b"", b"null", b"1", b'"x"', b"NaN", b"-Infinity", b'{"rows": {}}', b'{"rows": [[]]}']
        ),
        lambda: b"n_medications,gender\n" + b'"\n,' * draw.randrange(200) + draw.randbytes(20),
        lambda: b" " * (LIMIT + 1 if draw.random() < 0.2 else 100),
    )
    return draw.choice(kinds)()
