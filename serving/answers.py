"""From a valid request to an answer: history, score, log, explanation. No HTTP here."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from readmit.client.answer_types import Contributions, FieldContribution, ScoredStay
from serving.api_keys import Caller
from serving.bundle_loader import ServedModel
from serving.history import UNAVAILABLE, HistoryLookup, HistoryUnavailable, Reader
from serving.instruments import Metrics
from serving.microbatch import MicroBatcher, Row
from serving.prediction_log import LoggedPrediction, PredictionLog
from serving.schema import PredictionRequest
from serving.shadow import ScoredRequest, Shadow

METHOD = (
    "log-odds; each field's effect of moving from its default to the value sent, averaged over two"
    " orders of moving (the contract's and its reverse), after M. Strumbelj and I. Kononenko 2014;"
    " base + contributions = score"
)
HISTORY = "history"  # stands for all fields of a history that the caller may not see
SMALLEST_PROBABILITY = 1e-12  # keeps the log-odds of 0 and 1 finite
Answered = tuple[PredictionRequest, ScoredStay]


@dataclass(frozen=True)
class PredictionServices:
    """What a prediction needs beside the model."""

    lookup: HistoryLookup
    log: PredictionLog
    shadow: Shadow
    metrics: Metrics
    batcher: MicroBatcher


async def with_known_history(
    model: ServedModel, request: PredictionRequest, lookup: HistoryLookup, reader: Reader
) -> PredictionRequest:
    """Return the request, with the patient's history if it was not sent and can be looked up.

    When it cannot be read now, the request has the values of a first stay and the history
    "unavailable".
    """
    columns = model.requests.history
    if request.history == "given" or request.patient_nbr is None or not columns:
        return request
    try:
        history = await lookup.find(request.patient_nbr, columns, reader)
    except HistoryUnavailable:
        return request._replace(history=UNAVAILABLE)
    if history is None:
        return request
    return model.requests.with_history(request, history)


def scored_stay(
    model: ServedModel,
    request: PredictionRequest,
    probability: float,
    request_id: str,
    calls_per_100: int,
) -> ScoredStay:
    """Return the answer to one request, without the model's name.

    Args:
        model: that scored it.
        request: the stay, with its history.
        probability: its score.
        request_id: of the answer.
        calls_per_100: how many of 100 patients the caller can call.

    Raises:
        ArithmeticError: the probability is not a finite number.
    """
    if not math.isfinite(probability):
        raise ArithmeticError(
            f"version {model.version.version} gave a probability that is not a number"
        )
    stay: ScoredStay = {
        "probability": probability,
        "risk": model.risk_of(probability),
        "threshold": model.threshold,
        "capacity": model.capacity_of(probability, calls_per_100),
        "history": request.history,
        "request_id": request_id,
    }
    if request.defaulted or request.ignored:
        stay["contract"] = {
            "hash": model.contract.hash,
            "defaulted": request.defaulted,
            "ignored": request.ignored,
        }
    return stay


def record(
    model: ServedModel, answered: Sequence[Answered], services: PredictionServices, caller: Caller
) -> None:
    """Count answers of the same moment; queue them for the log and for the challenger."""
    version = model.version.version
    observe_score = services.metrics.histogram("readmit_score", version).observe
    counts: dict[tuple[str, str], int] = {}
    for _, stay in answered:
        observe_score(stay["probability"])
        kind = (stay["risk"], stay["history"])
        counts[kind] = counts.get(kind, 0) + 1
    for (risk, history), n_rows in counts.items():
        counter = services.metrics.counter("readmit_predictions_total", version, risk, history)
        counter.inc(n_rows)

    predicted_at = datetime.now(UTC)
    names = model.requests.names
    logged = []
    for request, stay in answered:
        capacity = stay["capacity"]
        logged.append(
            LoggedPrediction(
                stay["request_id"],
                predicted_at,
                model.version.name,
                version,
                model.version.run_id,
                model.contract.hash,
                (names, request.values),
                stay["probability"],
                stay["risk"],
                stay["threshold"],
                None if request.patient_nbr is None else str(request.patient_nbr),
                request.encounter_id,
                stay["history"],
                caller.name,
                caller.is_clinical(request.encounter_id),
                capacity["calls_per_100"] if capacity else None,
                capacity["risk"] if capacity else None,
            )
        )
    services.log.add(logged)
    services.shadow.add(
        ScoredRequest(model.requests, request, stay["probability"], stay["risk"])
        for request, stay in answered
    )


def explain(model: ServedModel, row: Row) -> Contributions:
    """Return contributions of inputs and history that add up to the score, in log-odds.

    Effects of derived features stand under the fields they are derived from. Method: see METHOD.
    """
    names = model.requests.names
    n = len(names)
    base = tuple(model.requests.defaults[name] for name in names)
    forward_path = _path(base, row, range(n))
    backward_path = _path(base, row, reversed(range(n)))
    probabilities = model.compiled.score([*forward_path, *backward_path])
    scores = []
    for probability in probabilities:
        p = min(max(float(probability), SMALLEST_PROBABILITY), 1 - SMALLEST_PROBABILITY)
        scores.append(math.log(p / (1 - p)))
    forward = scores[: n + 1]
    backward = scores[n + 1 :]
    contributions: list[FieldContribution] = []
    for i, name in enumerate(names):
        gain_forward = forward[i + 1] - forward[i]
        gain_backward = backward[n - i] - backward[n - i - 1]
        contributions.append(
            {
                "feature": name,
                "value": row[i],
                "contribution": (gain_forward + gain_backward) / 2,
            }
        )
    contributions.sort(key=lambda item: abs(item["contribution"]), reverse=True)
    return {
        "base": forward[0],
        "score": forward[-1],
        "contributions": contributions,
        "unit": "log-odds",
        "method": METHOD,
    }


def without_history(contributions: Contributions, names: Collection[str]) -> Contributions:
    """Return the contributions with those of the history as one sum, without values.

    Values and effects of single fields would tell a caller what the patient's earlier stays were.
    """
    effect = 0.0
    others: list[FieldContribution] = []
    for contribution in contributions["contributions"]:
        if contribution["feature"] in names:
            effect += contribution["contribution"]
        else:
            others.append(contribution)
    others.append({"feature": HISTORY, "value": None, "contribution": effect})
    others.sort(key=lambda item: abs(item["contribution"]), reverse=True)
    return {**contributions, "contributions": others}


def _path(base: Row, row: Row, order: Iterable[int]) -> list[Row]:
    """Return the rows from `base` to `row`, one more value moved in each."""
    path = [base]
    values = list(base)
    for position in order:
        values[position] = row[position]
        path.append(tuple(values))
    return path
