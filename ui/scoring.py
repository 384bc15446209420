"""Scoring of many rows in pieces, and the outcome of each row."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ui import vocabulary, wording
from ui.batch_file import chunks
from ui.messages import Messages

Scorer = Callable[[list[dict[str, Any]]], Mapping[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """What became of one row: an answer or an error."""

    probability: float | None = None
    risk: str = ""
    history: str = ""
    model_version: str = ""
    error: str = ""

    def cells(self) -> dict[str, str | float | None]:
        """Return the columns that the scored file has beside the uploaded ones."""
        return {
            "probability": self.probability,
            "risk": self.risk,
            "history": self.history,
            "model_version": self.model_version,
            "error": self.error,
        }

    def shown(self, text: Messages) -> dict[str, str]:
        """Return the same columns as a table on the page has them."""
        risk = wording.band(self.risk, text) if self.risk else ""
        history = vocabulary.value(self.history, text.code)
        probability = "" if self.probability is None else wording.percent(self.probability)
        cells = {
            "probability": probability,
            "risk": risk,
            "history": history,
            "model_version": self.model_version,
        }
        cells["error"] = vocabulary.said(self.error, text.code)
        return {vocabulary.column(name, text.code): cell for name, cell in cells.items()}


def score(rows: Sequence[dict[str, Any]], ask: Scorer) -> Iterator[list[Outcome]]:
    """Yield the outcomes of each piece of the rows, in the order of the rows."""
    for _, piece in chunks(rows):
        yield outcomes(ask(piece), len(piece))


def outcomes(answer: Mapping[str, Any], n: int) -> list[Outcome]:
    """Return one outcome for each of the `n` rows that were sent; a row without an answer is an error, never lost.

    The API answers each row in its place; were there fewer answers, nobody could tell which row each belongs to.
    """
    errors: dict[int, list[str]] = {}
    for error in answer.get("errors") or []:
        said = ": ".join(str(part) for part in (error.get("field"), error.get("detail")) if part)
        errors.setdefault(int(error["row"]), []).append(said)
    answers = answer["predictions"] if len(answer["predictions"]) == n else [None] * n
    version = str((answer.get("model") or {}).get("version", ""))
    return [_outcome(each, errors.get(row, []), version) for row, each in enumerate(answers)]


def _outcome(answer: Mapping[str, Any] | None, errors: Sequence[str], version: str) -> Outcome:
    if errors or not answer:
        return Outcome(error="; ".join(errors) or "no answer")
    return Outcome(
        probability=float(answer["probability"]),
        risk=str(answer.get("risk", "")),
        history=str(answer.get("history", "")),
        model_version=version,
    )
