"""Scoring of many rows in chunks, and the outcome of each row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from readmit.client.answer_types import BatchAnswer, BatchStay, FieldError, RowError, Value
from ui import batch_file, problem_messages, wording
from ui.batch_file import FileRow, Upload
from ui.examples import Scorer
from ui.form import Field
from ui.language import Code, Language

MAX_SHOWN = 50  # the download has all rows
MAX_ERRORS_SHOWN = 1_000
MAX_ERRORS_OF_ROW = 10
EXTRA_CELLS = "extra_cells"  # the column for cells of an upload that stand below no name
# The columns that scoring adds to a file.
NO_CELLS: Mapping[str, Value | None] = {
    "probability": None,
    "risk": "",
    "history": "",
    "model_version": "",
    "error": "",
    "capacity_risk": "",
    "observed_rate": "",
    "is_unlike_training": "",
}


@dataclass(frozen=True)
class Outcome:
    """The score of one row, or its errors. Without either, the API did not answer this row."""

    stay: BatchStay | None = None
    errors: tuple[RowError | FieldError, ...] = ()
    model_version: str = ""

    @property
    def is_scored(self) -> bool:
        """Say whether the row has a score."""
        return self.stay is not None and not self.errors

    def cells(self) -> dict[str, Value | None]:
        """Return the columns that scoring adds to the uploaded file, in the API's words."""
        if self.stay is None or self.errors:
            details = []
            for row_error in self.errors[:MAX_ERRORS_OF_ROW]:
                details.append(f"{row_error['field']}: {row_error['detail']}")
            if len(self.errors) > MAX_ERRORS_OF_ROW:
                details.append(f"and {len(self.errors) - MAX_ERRORS_OF_ROW} more")
            error = "; ".join(details) or "no answer"
            return {**NO_CELLS, "error": error}
        capacity = self.stay.get("capacity")
        certainty = self.stay.get("certainty")
        return {
            **NO_CELLS,
            "probability": self.stay["probability"],
            "risk": self.stay["risk"],
            "history": self.stay["history"],
            "model_version": self.model_version,
            "capacity_risk": capacity["risk"] if capacity else "",
            "observed_rate": certainty["observed"]["figure"] if certainty else "",
            "is_unlike_training": certainty["is_unlike_training"] if certainty else "",
        }

    def shown(self, language: Language) -> dict[str, Value | None]:
        """Return the same columns as the page shows them."""
        cells = {**NO_CELLS, "probability": "", "error": self.error_text(language)}
        if self.stay is not None and not self.errors:
            certainty = self.stay.get("certainty")
            cells |= {
                "probability": wording.percent(
                    self.stay["probability"], wording.decimals_of(self.stay)
                ),
                "risk": wording.band_and_threshold(self.stay, language),
                "history": language.value(self.stay["history"]),
                "model_version": self.model_version,
                "capacity_risk": wording.is_called(self.stay.get("capacity"), language),
                "observed_rate": wording.observed_rate(certainty, language),
                "is_unlike_training": wording.is_unlike(certainty, language),
            }
        cells["error"] = cells.pop("error")  # the longest column comes last
        return {language.column(name): cell for name, cell in cells.items()}

    def error_text(self, language: Language) -> str:
        """Return why the row has no score; empty when it has one."""
        if self.is_scored:
            return ""
        texts = []
        for error in self.errors:
            texts.append(f"{error['field']}: {problem_messages.field_error(error, language)}")
        return "; ".join(texts) or language.text("no_answer")


@dataclass
class ScoredFile:
    """The result of scoring a file: the text of the download, and the first rows for the page.

    `first` has the first outcomes by their line in the file, `errors` the first with errors.
    `has_extra_cells` tells whether some rows have more cells than the header: none gets lost.
    """

    code: Code = "en"
    has_extra_cells: bool = False
    parts: list[str] = field(default_factory=list)
    n_rows: int = 0
    n_errors: int = 0
    first: dict[int, Outcome] = field(default_factory=dict)
    errors: dict[int, Outcome] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The scored file as CSV."""
        return "".join(self.parts)

    def add(self, rows: Sequence[FileRow], outcomes: Sequence[Outcome]) -> None:
        """Add rows and their outcomes."""
        scored = []
        for row, outcome in zip(rows, outcomes, strict=True):
            cells: dict[str, Value | None] = {**row.cells}
            if self.has_extra_cells:
                cells[EXTRA_CELLS] = row.extra_cells
            scored.append(cells | outcome.cells())
            if len(self.first) < MAX_SHOWN:
                self.first[row.line] = outcome
            if not outcome.is_scored:
                self.n_errors += 1
                if len(self.errors) < MAX_ERRORS_SHOWN:
                    self.errors[row.line] = outcome
        is_first = self.n_rows == 0
        self.parts.append(batch_file.write(scored, has_header=is_first, code=self.code))
        self.n_rows += len(scored)


def score(
    upload: Upload, fields: Sequence[Field], scorer: Scorer, code: Code = "en"
) -> Iterator[ScoredFile]:
    """Score a file chunk by chunk, and yield the result so far after each chunk.

    Args:
        upload: the file.
        fields: of the form.
        scorer: sends rows to the API.
        code: the language whose spreadsheets open the result.
    """
    scored = ScoredFile(code, upload.has_extra_cells)
    read_row = None
    columns: Mapping[str, str] = {}
    for rows in batch_file.chunks(upload.rows()):
        if read_row is None:
            header = list(rows[0].cells)
            read_row = batch_file.row_reader(header, fields)
            columns = batch_file.columns_by_field(header, fields)
        typed = [read_row(row.cells) for row in rows if row.error is None]
        answered = iter(outcomes(scorer(typed), len(typed), columns) if typed else [])
        row_outcomes = []
        for row in rows:
            if row.error is None:
                row_outcomes.append(next(answered))
            else:
                row_outcomes.append(Outcome(errors=(row.error,)))
        scored.add(rows, row_outcomes)
        yield scored


def outcomes(
    answer: BatchAnswer, n_rows: int, columns: Mapping[str, str] | None = None
) -> list[Outcome]:
    """Return one outcome for each of the `n_rows` rows that were sent.

    The API answers each row at its index. With fewer answers than rows, nobody could tell which row
    an answer belongs to: then no row is scored.

    Args:
        answer: of the API.
        n_rows: how many rows were sent.
        columns: what the file calls the fields. Errors name its columns.
    """
    errors: dict[int, list[RowError]] = {}
    for error in answer["errors"]:
        column = (columns or {}).get(error["field"], error["field"])
        errors.setdefault(error["row"], []).append({**error, "field": column})
    stays = answer["predictions"]
    if len(stays) != n_rows:
        stays = [None] * n_rows
    version = answer["model"]["version"]
    return [Outcome(stay, tuple(errors.get(row, ())), version) for row, stay in enumerate(stays)]
