"""What the Model and Data pages show, as rows ready for a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ui import wording
from ui.messages import Messages

PROMOTION_COLUMNS = (
    "decided_at",
    "decision",
    "challenger_version",
    "production_version",
    "metric",
    "challenger_score",
    "production_score",
    "gain",
    "gain_low",
    "gain_high",
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


@dataclass(frozen=True)
class Metric:
    """A figure with its interval."""

    name: str
    figure: float
    low: float | None = None
    high: float | None = None

    def as_table(self, text: Messages) -> dict[str, str]:
        """Return the row of a table."""
        interval = "-" if self.low is None or self.high is None else f"{self.low:.3f} to {self.high:.3f}"
        return {text.metric: self.name, text.value: f"{self.figure:.3f}", text.interval: interval}


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
    promoted = str(model.get("promoted_at") or "-")[:16].replace("T", " ")
    return {
        text.model: f"{model['name']} · {text.version} {model['version']}",
        text.promoted_at: promoted,
        text.trained_on: str(model.get("data_source") or "-"),
        text.threshold: wording.percent(float(model["threshold"])),
        text.contract: str(model["contract"].get("hash") or "-")[:12],
    }


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose nested figures (`{"figure", "low", "high"}`) are columns of their own."""
    result: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            result |= {name if key == "figure" else f"{name} {key}": inner for key, inner in value.items()}
        else:
            result[name] = value
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in result.items()}


def promotions(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the decisions, the latest first, with the columns that a reader needs."""
    latest = sorted(rows, key=lambda row: str(row.get("decided_at")), reverse=True)
    return [_minutes(flat({name: row.get(name) for name in PROMOTION_COLUMNS})) for row in latest]


def realised(reports: Sequence[Mapping[str, Any]], text: Messages) -> list[dict[str, Any]]:
    """Return how good each version turned out to be, by the newest report of the monitor (the first)."""
    found = reports[0]["evidence"].get("realised") or [] if reports else []
    return [_realised_row(each, text) for each in found if each["n_labels"]]


def _realised_row(each: Mapping[str, Any], text: Messages) -> dict[str, Any]:
    row = {"version": each["version"], "n_labels": each["n_labels"], "n_readmitted": each["n_readmitted"]}
    known = {metric.name: metric for metric in metric_rows(each["metrics"] or {})}
    for name in REALISED:
        metric = known.get(name)
        row[name] = f"{metric.figure:.3f} ({metric.low:.3f} to {metric.high:.3f})" if metric else text.too_few
    return row


def _minutes(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with its moments to the minute, in UTC."""
    return {
        name: value[:16].replace("T", " ") if name.endswith("_at") and value else value for name, value in row.items()
    }


def ledger(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the batches with the columns that a reader needs."""
    return [_minutes({name: row.get(name) for name in LEDGER_COLUMNS}) for row in rows]


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
        latest=max((str(row["published_at"]) for row in published if row.get("published_at")), default=None),
    )
