"""What the Model and Data pages show, as rows ready for a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ui import vocabulary, wording
from ui.messages import Language, Messages

PROMOTION_COLUMNS = (
    "decided_at",
    "decision",
    "challenger_version",
    "production_version",
    "metric",
    "challenger_score",
    "production_score",
    "gain",
    "actor",
    "reason",
)
REALISED = ("auroc", "average_precision", "ece", "observed_minus_predicted")
LEDGER_COLUMNS = (
    "batch_id",
    "status",
    "split",
    "n_rows",
    "n_quarantined",
    "n_excluded",
    "published_at",
    "data_source",
    "reason",
)
QUARANTINE_COLUMNS = (
    "_batch_id",
    "_source_row",
    "encounter_id",
    "patient_nbr",
    "reason",
    "raw_values",
    "released_at",
    "released_by",
    "corrected",
)
PLAIN: Mapping[str, Callable[[str, Language], str]] = {
    "metric": vocabulary.metric,
    "reason": vocabulary.said,
    **dict.fromkeys(("decision", "status", "split", "data_source"), vocabulary.value),
}


@dataclass(frozen=True)
class Metric:
    """A figure with its interval."""

    name: str
    figure: float
    low: float | None = None
    high: float | None = None

    def as_table(self, text: Messages) -> dict[str, str]:
        """Return the row of a table."""
        interval = self.interval(text) or "-"
        return {
            text.metric: self.label(text),
            text.value: f"{self.figure:.3f}",
            text.interval: interval,
        }

    def label(self, text: Messages) -> str:
        """Return its plain name."""
        return vocabulary.metric(self.name, text.code)

    def meaning(self, text: Messages) -> str:
        """Return what it says, in a sentence."""
        return vocabulary.meaning(self.name, text.code)

    def interval(self, text: Messages) -> str:
        """Return the interval; empty when there is none."""
        return (
            ""
            if self.low is None or self.high is None
            else wording.interval(self.low, self.high, text)
        )

    def in_one_cell(self, text: Messages) -> str:
        """Return figure and interval together."""
        interval = self.interval(text)
        return f"{self.figure:.3f} ({interval})" if interval else f"{self.figure:.3f}"


def metric_rows(metrics: Mapping[str, Any]) -> list[Metric]:
    """Return metrics given as `{"figure", "low", "high"}` or as plain numbers."""
    rows = []
    for name, value in metrics.items():
        if isinstance(value, Mapping) and value.get("figure") is not None:
            rows.append(Metric(name, float(value["figure"]), value.get("low"), value.get("high")))
        elif isinstance(value, int | float):
            rows.append(Metric(name, float(value)))
    return rows


def identity(model: Mapping[str, Any], text: Messages) -> dict[str, str]:
    """Return who the served model is, for the card on top of the page."""
    promoted = f"{_minute(model['promoted_at'])} UTC" if model.get("promoted_at") else "-"
    return {
        text.model: f"{model['name']} · {text.version} {model['version']}",
        text.promoted_at: promoted,
        text.trained_on: vocabulary.value(model.get("data_source") or "-", text.code),
        text.threshold: wording.percent(float(model["threshold"])),
        text.contract: str(model["contract"].get("hash") or "-")[:12],
    }


def slices(rows: Sequence[Mapping[str, Any]], text: Messages) -> list[dict[str, Any]]:
    """Return how good the model is within groups of patients, a row for each."""
    return [_slice_row(row, text) for row in rows]


def _slice_row(row: Mapping[str, Any], text: Messages) -> dict[str, Any]:
    auroc = Metric("auroc", float(row["auroc"]), row.get("low"), row.get("high"))
    cells = {
        "slice": vocabulary.value(row["slice"], text.code),
        "value": vocabulary.value(row["value"], text.code),
        "n": wording.whole(int(row["n"]), text),
        "observed": wording.percent(float(row["observed"])),
        "predicted": wording.percent(float(row["predicted"])),
        "auroc": auroc.in_one_cell(text),
        "falls_behind": bool(row.get("falls_behind")),
    }
    return _headed(cells, text)


def promotions(rows: Sequence[Mapping[str, Any]], text: Messages) -> list[dict[str, Any]]:
    """Return the decisions, the latest first, with the columns that a reader needs."""
    latest = sorted(rows, key=lambda row: str(row.get("decided_at")), reverse=True)
    return [
        _table_row({**row, "gain": _gain(row, text)}, PROMOTION_COLUMNS, text) for row in latest
    ]


def _gain(row: Mapping[str, Any], text: Messages) -> str | None:
    if row.get("gain") is None:
        return None
    return Metric(
        "gain", float(row["gain"]), row.get("gain_low"), row.get("gain_high")
    ).in_one_cell(text)


def realised(reports: Sequence[Mapping[str, Any]], text: Messages) -> list[dict[str, Any]]:
    """Return how good each version turned out to be, by the newest report of the monitor (the first)."""
    found = reports[0]["evidence"].get("realised") or [] if reports else []
    return [_realised_row(each, text) for each in found if each["n_labels"]]


def _realised_row(each: Mapping[str, Any], text: Messages) -> dict[str, Any]:
    row = {
        "version": each["version"],
        "n_labels": each["n_labels"],
        "n_readmitted": each["n_readmitted"],
    }
    known = {metric.name: metric for metric in metric_rows(each["metrics"] or {})}
    said = {
        name: known[name].in_one_cell(text) if name in known else text.too_few for name in REALISED
    }
    return _headed(row | said, text)


def ledger(rows: Sequence[Mapping[str, Any]], text: Messages) -> list[dict[str, Any]]:
    """Return the batches with the columns that a reader needs."""
    return [_table_row(row, LEDGER_COLUMNS, text) for row in rows]


def quarantine(rows: Sequence[Mapping[str, Any]], text: Messages) -> list[dict[str, Any]]:
    """Return the rows that were held back; columns that are empty in all of them are left out."""
    filled = [name for name in QUARANTINE_COLUMNS if any(row.get(name) is not None for row in rows)]
    return [_table_row(row, filled, text) for row in rows]


def _table_row(row: Mapping[str, Any], columns: Sequence[str], text: Messages) -> dict[str, Any]:
    cells = {
        name: "" if row.get(name) is None else _cell(name, row[name], text) for name in columns
    }
    return _headed(cells, text)


def _headed(row: Mapping[str, Any], text: Messages) -> dict[str, Any]:
    return {vocabulary.column(name, text.code): cell for name, cell in row.items()}


def _cell(name: str, found: object, text: Messages) -> object:
    """Return what stands in a table: plain words, moments to the minute (UTC), figures to three places."""
    if in_plain := PLAIN.get(name):
        return in_plain(str(found), text.code)
    if name.endswith("_at"):
        return _minute(found)
    if isinstance(found, Mapping):
        return ", ".join(f"{key}: {value}" for key, value in found.items())
    if isinstance(found, float):
        return f"{found:.3f}"
    return wording.whole(found, text) if isinstance(found, int) and name.startswith("n_") else found


def _minute(moment: object) -> str:
    """Return an ISO moment to the minute."""
    return str(moment)[:16].replace("T", " ")


@dataclass(frozen=True)
class Totals:
    """The ledger in four figures."""

    published: int
    rows: int
    quarantined: int
    latest: str | None


def totals(rows: Sequence[Mapping[str, Any]]) -> Totals:
    """Return the sums over published batches and the latest publication."""
    published = [row for row in rows if row.get("status") == "published"]
    return Totals(
        published=len(published),
        rows=sum(int(row.get("n_rows") or 0) for row in published),
        quarantined=sum(int(row.get("n_quarantined") or 0) for row in rows),
        latest=max(
            (str(row["published_at"]) for row in published if row.get("published_at")), default=None
        ),
    )
