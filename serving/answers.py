"""From a valid request to an answer: history, probability, risk, the log, explanations. No HTTP here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from serving.bundle import Served
from serving.history import HistoryLookup
from serving.metrics import Metrics
from serving.microbatch import MicroBatcher
from serving.records import PredictionLog
from serving.schema import LARGEST, Asked
from serving.shadow import Answered, Shadow

METHOD = (
    "log-odds; each field's effect of moving from its default to the value sent, averaged over two orders of moving"
    " (the contract's and its reverse), after M. Strumbelj and I. Kononenko 2014; base + contributions = score"
)
EDGE = 1e-12  # keeps the log-odds of 0 and 1 finite


@dataclass(frozen=True)
class Answering:
    """What answering needs beside the model."""

    lookup: HistoryLookup
    log: PredictionLog
    shadow: Shadow
    metrics: Metrics
    batcher: MicroBatcher


async def complete(served: Served, asked: Asked, lookup: HistoryLookup) -> tuple[dict[str, Any], str]:
    """Return the model's row, and where its history is from."""
    requests = served.requests
    if len(asked.features) > len(requests.inputs):
        return _with_defaults(served, asked.features), "given"
    if asked.patient_nbr is not None and requests.history:
        found = await lookup.find(asked.patient_nbr, requests.history)
        if found is not None:
            return _with_defaults(served, asked.features | found), "looked_up"
    return _with_defaults(served, asked.features), "assumed_first_stay"


def assume(served: Served, asked: Asked, found: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], str]:
    """Return the row and its history without a look-up, as batches do; `found`: a history looked up before."""
    if len(asked.features) > len(served.requests.inputs):
        return _with_defaults(served, asked.features), "given"
    if found is not None:
        return _with_defaults(served, asked.features | dict(found)), "looked_up"
    return _with_defaults(served, asked.features), "assumed_first_stay"


def one_patient(rows: Sequence[object]) -> int | None:
    """Return the patient number that all rows share, as those of a what-if do, or None."""
    number = rows[0].get("patient_nbr") if rows and isinstance(rows[0], dict) else None
    if type(number) is not int or not 0 <= number <= LARGEST:
        return None
    return number if all(isinstance(row, dict) and row.get("patient_nbr") == number for row in rows) else None


def _with_defaults(served: Served, features: Mapping[str, Any]) -> dict[str, Any]:
    row = dict(features)
    for name in served.requests.history:
        if row.get(name) is None:
            row[name] = served.requests.defaults[name]
    return row


def answer(
    served: Served,
    asked: Asked,
    row: dict[str, Any],
    probability: float,
    *,
    history: str,
    request_id: str,
    to: Answering | None,
) -> dict[str, Any]:
    """Return one answer; it is counted and queued for the log, unless `to` is None: a trial, about nobody."""
    if not math.isfinite(probability):
        raise ArithmeticError(f"version {served.version.version} gave a probability that is not a number")
    risk = "high" if probability >= served.threshold else "low"
    version = served.version
    if to is not None:
        to.metrics.labelled("readmit_predictions_total", version.version, risk, history).inc()
        to.metrics.labelled("readmit_score", version.version).observe(probability)
        to.log.add([
            (request_id, datetime.now(UTC), version.name, version.version, version.run_id, served.contract.hash,
             (served.requests.names, served.requests.values(row)), probability, risk, served.threshold,
             None if asked.patient_nbr is None else str(asked.patient_nbr), asked.encounter_id, history)
        ])  # fmt: skip
        to.shadow.add(Answered(served.contract.hash, row, probability, risk))
    said: dict[str, Any] = {
        "probability": probability,
        "risk": risk,
        "threshold": served.threshold,
        "history": history,
        "model": served.identity,
        "request_id": request_id,
    }
    if asked.defaulted or asked.ignored:
        said["contract"] = {
            "hash": served.contract.hash, "defaulted": asked.defaulted, "ignored": asked.ignored,
        }  # fmt: skip
    return said


def explain(served: Served, row: dict[str, Any]) -> dict[str, Any]:
    """Return contributions of inputs and history that add up to the score, in log-odds.

    Effects of derived features stand under the fields they are derived from. Method: see METHOD.
    """
    names = [*served.requests.inputs, *served.requests.history]
    base = {name: served.requests.defaults[name] for name in names}
    base = {name: row[name] if value is None else value for name, value in base.items()}
    paths = [_path(base, row, order) for order in (names, names[::-1])]
    scores = [_log_odds(float(p)) for p in served.compiled.predict_many([*paths[0], *paths[1]])]
    forward, backward = scores[: len(paths[0])], scores[len(paths[0]) :]
    n = len(names)
    gains = [(forward[i + 1] - forward[i] + backward[n - i] - backward[n - i - 1]) / 2 for i in range(n)]
    found = [
        {"feature": name, "value": row[name], "contribution": gain} for name, gain in zip(names, gains, strict=True)
    ]
    found.sort(key=lambda each: -abs(each["contribution"]))
    return {"base": forward[0], "score": forward[-1], "contributions": found, "unit": "log-odds", "method": METHOD}


def _path(base: dict[str, Any], row: dict[str, Any], order: list[str]) -> list[dict[str, Any]]:
    steps = [dict(base)]
    for name in order:
        steps.append(steps[-1] | {name: row[name]})
    return steps


def _log_odds(probability: float) -> float:
    p = min(max(probability, EDGE), 1 - EDGE)
    return math.log(p / (1 - p))
