"""Scoring of many rows in chunks, and the outcome of each row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from readmit.client.answer_types import BatchAnswer, RowError, ScoredStay, Value
from ui import problem_messages, wording
from ui.batch_file import chunks
from ui.examples import Scorer
from ui.language import Language


@dataclass(frozen=True)
class Outcome:
    """The score of one row, or its errors. Without either, the API did not answer this row."""

    stay: ScoredStay | None = None
    errors: tuple[RowError, ...] = ()
    model_version: str = ""

    @property
    def is_scored(self) -> bool:
        """Say whether the row has a score."""
        return self.stay is not None and not self.errors

    def cells(self) -> dict[str, Value | None]:
        """Return the columns that scoring adds to the uploaded file, in the API's words."""
        if self.stay is None or self.errors:
            details = [f"{error['field']}: {error['detail']}" for error in self.errors]
            error = "; ".join(details) or "no answer"
            return _cells(None, "", "", "", error)
        stay = self.stay
        return _cells(stay["probability"], stay["risk"], stay["history"], self.model_version, "")

    def shown(self, language: Language) -> dict[str, Value | None]:
        """Return the same columns as the page shows them."""
        cells = _cells("", "", "", "", self.error_text(language))
        if self.stay is not None and not self.errors:
            probability = wording.percent(self.stay["probability"])
            risk = wording.band(self.stay["risk"], language)
            history = language.value(self.stay["history"])
            cells = _cells(probability, risk, history, self.model_version, "")
        return {language.column(name): cell for name, cell in cells.items()}

    def error_text(self, language: Language) -> str:
        """Return why the row has no score; empty when it has one."""
        if self.is_scored:
            return ""
        texts = []
        for error in self.errors:
            texts.append(f"{error['field']}: {problem_messages.field_error(error, language)}")
        return "; ".join(texts) or language.text("no_answer")


def _cells(
    probability: Value | None, risk: str, history: str, model_version: str, error: str
) -> dict[str, Value | None]:
    return {
        "probability": probability,
        "risk": risk,
        "history": history,
        "model_version": model_version,
        "error": error,
    }


def score(rows: Sequence[Mapping[str, Value]], scorer: Scorer) -> Iterator[list[Outcome]]:
    """Yield the outcomes of each chunk of the rows, in the order of the rows."""
    for chunk in chunks(rows):
        yield outcomes(scorer(chunk), len(chunk))


def outcomes(answer: BatchAnswer, n_rows: int) -> list[Outcome]:
    """Return one outcome for each of the `n_rows` rows that were sent.

    The API answers each row at its index. With fewer answers than rows, nobody could tell which row
    an answer belongs to: then no row is scored.
    """
    errors: dict[int, list[RowError]] = {}
    for error in answer["errors"]:
        errors.setdefault(error["row"], []).append(error)
    stays = answer["predictions"]
    if len(stays) != n_rows:
        stays = [None] * n_rows
    version = answer["model"]["version"]
    return [Outcome(stay, tuple(errors.get(row, ())), version) for row, stay in enumerate(stays)]
