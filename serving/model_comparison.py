"""One stay scored by production and by the version with another alias. Nothing is logged."""

from readmit.client.answer_types import ComparedAnswer, ModelIdentity, ProblemCode
from serving.answers import scored_stay, with_known_history
from serving.bundle_loader import ServedModel
from serving.history import HistoryLookup, Reader
from serving.problems import Problem
from serving.schema import PredictionRequest


async def compare(
    production: ServedModel,
    other: ServedModel | None,
    request: PredictionRequest,
    *,
    alias: str,
    lookup: HistoryLookup,
    reader: Reader,
    calls_per_100: int,
) -> list[ComparedAnswer]:
    """Return production's answer, then the other version's or the reason why there is none."""
    complete = await with_known_history(production, request, lookup, reader)
    answer = _answer(production, complete, "production", reader, calls_per_100)
    if other is None:
        return [answer, _unavailable(alias, None, Problem(ProblemCode.VERSION_UNAVAILABLE))]
    try:
        translated = other.requests.translated(request, production.requests)
        complete = await with_known_history(other, translated, lookup, reader)
        other_answer = _answer(other, complete, alias, reader, calls_per_100)
    except Problem as problem:
        other_answer = _unavailable(alias, other.identity, problem)
    return [answer, other_answer]


def _answer(
    model: ServedModel,
    request: PredictionRequest,
    alias: str,
    reader: Reader,
    calls_per_100: int,
) -> ComparedAnswer:
    (probability,) = model.compiled.score([request.values])
    stay = scored_stay(model, request, float(probability), reader.request_id, calls_per_100)
    answer: ComparedAnswer = {
        "alias": alias,
        "model": model.identity,
        "probability": stay["probability"],
        "risk": stay["risk"],
        "threshold": stay["threshold"],
        "capacity": stay["capacity"],
        "history": stay["history"],
        "request_id": stay["request_id"],
    }
    if "contract" in stay:
        answer["contract"] = stay["contract"]
    return answer


def _unavailable(alias: str, model: ModelIdentity | None, problem: Problem) -> ComparedAnswer:
    answer: ComparedAnswer = {
        "alias": alias,
        "model": model,
        "code": problem.code,
        "params": problem.params,
        "detail": problem.detail,
    }
    if problem.errors:
        answer["errors"] = problem.errors
    return answer
