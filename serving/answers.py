"""From a valid request to an answer: history, probability, risk, the log, explanations. No HTTP here."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from serving.bundle_loader import ServedModel
from serving.history import HistoryLookup
from serving.instruments import Metrics
from serving.microbatch import MicroBatcher
from serving.prediction_log import PredictionLog
from serving.schema import PredictionRequest
from serving.shadow import ScoredRequest, Shadow

METHOD = (
    "log-odds; each field's effect of moving from its default to the value sent, averaged over two orders of moving"
    " (the contract's and its reverse), after M. Strumbelj and I. Kononenko 2014; base + contributions = score"
)
EDGE = 1e-12  # keeps the log-odds of 0 and 1 finite


@dataclass(frozen=True)
class PredictionServices:
    """What answering needs beside the model."""

    lookup: HistoryLookup
    log: PredictionLog
    shadow: Shadow
    metrics: Metrics
    batcher: MicroBatcher


async def complete(
    served: ServedModel, asked: PredictionRequest, lookup: HistoryLookup
) -> PredictionRequest:
    """Return the request with the patient's history, if it came without one and there is one."""
    requests = served.requests
    if asked.history == "given" or asked.patient_nbr is None or not requests.history:
        return asked
    found = await lookup.find(asked.patient_nbr, requests.history)
    return asked if found is None else requests.with_history(asked, found)


def answer(
    served: ServedModel, asked: PredictionRequest, probability: float, request_id: str
) -> dict[str, Any]:
    """Return one answer, without the model's name."""
    if not math.isfinite(probability):
        raise ArithmeticError(
            f"version {served.version.version} gave a probability that is not a number"
        )
    said: dict[str, Any] = {
        "probability": probability,
        "risk": "high" if probability >= served.threshold else "low",
        "threshold": served.threshold,
        "history": asked.history,
        "request_id": request_id,
    }
    if asked.defaulted or asked.ignored:
        said["contract"] = {
            "hash": served.contract.hash, "defaulted": asked.defaulted, "ignored": asked.ignored,
        }  # fmt: skip
    return said


def note(
    served: ServedModel,
    answered: Sequence[tuple[PredictionRequest, dict[str, Any]]],
    to: PredictionServices,
) -> None:
    """Count answers of the same moment, queue them for the log, and for the challenger."""
    version, metrics = served.version, to.metrics
    kinds = [(said["risk"], said["history"]) for _, said in answered]
    for kind in set(kinds):
        metrics.labelled("readmit_predictions_total", version.version, *kind).inc(kinds.count(kind))
    observe = metrics.labelled("readmit_score", version.version).observe
    for _, said in answered:
        observe(said["probability"])
    model = (datetime.now(UTC), version.name, version.version, version.run_id, served.contract.hash)
    to.log.add(
        (said["request_id"], *model, (served.requests.names, asked.values), said["probability"], said["risk"],
         said["threshold"], None if asked.patient_nbr is None else str(asked.patient_nbr), asked.encounter_id,
         said["history"])
        for asked, said in answered
    )  # fmt: skip
    to.shadow.add(
        ScoredRequest(served.requests, asked, said["probability"], said["risk"])
        for asked, said in answered
    )


def explain(served: ServedModel, row: tuple[Any, ...]) -> dict[str, Any]:
    """Return contributions of inputs and history that add up to the score, in log-odds.

    Effects of derived features stand under the fields they are derived from. Method: see METHOD.
    """
    names, n = served.requests.names, len(row)
    defaults = (served.requests.defaults[name] for name in names)
    base = tuple(
        sent if default is None else default for default, sent in zip(defaults, row, strict=True)
    )
    paths = [_path(base, row, order) for order in (range(n), range(n)[::-1])]
    scores = [_log_odds(float(p)) for p in served.compiled.score([*paths[0], *paths[1]])]
    forward, backward = scores[: n + 1], scores[n + 1 :]
    gains = [
        (forward[i + 1] - forward[i] + backward[n - i] - backward[n - i - 1]) / 2 for i in range(n)
    ]
    found = [
        {"feature": name, "value": value, "contribution": gain}
        for name, value, gain in zip(names, row, gains, strict=True)
    ]
    found.sort(key=lambda each: -abs(each["contribution"]))
    return {
        "base": forward[0],
        "score": forward[-1],
        "contributions": found,
        "unit": "log-odds",
        "method": METHOD,
    }


def _path(
    base: tuple[Any, ...], row: tuple[Any, ...], order: Iterable[int]
) -> list[tuple[Any, ...]]:
    """Return the rows from one to the other, a value at a time."""
    steps, moved = [base], list(base)
    for place in order:
        moved[place] = row[place]
        steps.append(tuple(moved))
    return steps


def _log_odds(probability: float) -> float:
    p = min(max(probability, EDGE), 1 - EDGE)
    return math.log(p / (1 - p))
