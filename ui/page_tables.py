"""What the Model and Data pages show, as rows ready for a table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from operator import itemgetter

from readmit.client.answer_types import (
    BatchOutcome,
    CapacityPoint,
    LedgerRow,
    MetricInterval,
    ModelInfo,
    MonitorReport,
    PromotionDecision,
    QuarantinedRow,
    ReceivedFile,
    SliceQuality,
)
from ui import wording
from ui.charts import Share
from ui.language import Language

PROMOTION_COLUMNS = (
    "decided_at",
    "decision",
    "challenger_version",
    "production_version",
    "reason",
    "metric",
    "challenger_score",
    "production_score",
    "gain",
    "actor",
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
INBOX_COLUMNS = ("name", "received_at", "state", "n_rows", "n_known", "n_changed", "reason")
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
Z95 = 1.959964  # of the normal distribution
VALUE_COLUMNS = ("decision", "status", "state", "split", "data_source")
TableRow = dict[str, object]


@dataclass(frozen=True)
class Metric:
    """A metric with its interval."""

    name: str
    figure: float
    low: float | None = None
    high: float | None = None

    def as_table(self, language: Language) -> dict[str, str]:
        """Return the row of a table."""
        return {
            language.text("metric"): language.metric(self.name),
            language.text("value"): f"{self.figure:.3f}",
            language.text("interval"): self.interval(language) or "-",
        }

    def interval(self, language: Language) -> str:
        """Return the interval; empty when there is none."""
        if self.low is None or self.high is None:
            return ""
        return wording.interval(self.low, self.high, language)

    def in_one_cell(self, language: Language) -> str:
        """Return figure and interval together."""
        if not self.interval(language):
            return f"{self.figure:.3f}"
        return f"{self.figure:.3f} ({self.interval(language)})"


def metric_rows(metrics: Mapping[str, MetricInterval | float]) -> list[Metric]:
    """Return the metrics of a model, with or without intervals."""
    rows = []
    for name, value in metrics.items():
        if isinstance(value, int | float):
            rows.append(Metric(name, value))
        else:
            rows.append(Metric(name, value["figure"], value["low"], value["high"]))
    return rows


def identity(model: ModelInfo, language: Language) -> dict[str, str]:
    """Return the served model's name, age and source, for the card on top of the page."""
    promoted_at = "-"
    if model["promoted_at"]:
        promoted_at = f"{_to_the_minute(model['promoted_at'])} UTC"
    version = f"{language.text('version')} {model['version']}"
    return {
        language.text("model"): f"{model['name']} · {version}",
        language.text("promoted_at"): promoted_at,
        language.text("trained_on"): language.value(model.get("data_source", "-")),
        language.text("threshold"): wording.percent(model["threshold"], wording.THRESHOLD_DECIMALS),
        language.text("contract"): model["contract"]["hash"][:12],
    }


def capacity(point: CapacityPoint, language: Language) -> dict[str, str]:
    """Return what a ward gets that can make so many calls, for a card."""
    calls = language.text("capacity_nobody")
    per_readmission = point["calls_per_readmission"]
    if per_readmission is not None:
        bounds = language.text(
            "from_to", low=f"{per_readmission['low']:.1f}", high=f"{per_readmission['high']:.1f}"
        )
        calls = f"{per_readmission['figure']:.1f} ({bounds})"
    return {
        language.text("capacity_threshold"): wording.percent(
            point["threshold"], wording.THRESHOLD_DECIMALS
        ),
        language.text("capacity_called"): wording.share_interval(point["called"], language),
        language.text("capacity_found"): wording.share_interval(
            point["readmissions_found"], language
        ),
        language.text("calls_per_readmission"): calls,
    }


def slices(rows: Sequence[SliceQuality], language: Language) -> list[TableRow]:
    """Return how good the model is within groups of patients, a row for each."""
    table = []
    for row in rows:
        auroc = Metric("auroc", row["auroc"], row["low"], row["high"])
        cells: TableRow = {
            "slice": language.value(row["slice"]),
            "value": language.value(row["value"]),
            "n": wording.whole(row["n"], language),
            "observed": wording.percent(row["observed"]),
            "predicted": wording.percent(row["predicted"]),
            "auroc": auroc.in_one_cell(language),
            "falls_behind": row["falls_behind"],
        }
        table.append(_with_headings(cells, language))
    return table


def promotions(rows: Sequence[PromotionDecision], language: Language) -> list[TableRow]:
    """Return the decisions, the latest first, with the columns that a reader needs."""
    table = []
    for row in sorted(rows, key=itemgetter("decided_at"), reverse=True):
        cells: TableRow = {**row}
        if row["gain"] is not None:
            gain = Metric("gain", row["gain"], row["gain_low"], row["gain_high"])
            cells["gain"] = gain.in_one_cell(language)
        table.append(_table_row(cells, PROMOTION_COLUMNS, language))
    return table


def realised(reports: Sequence[MonitorReport], language: Language) -> list[TableRow]:
    """Return how good each version turned out to be, by the newest report (the first)."""
    if not reports:
        return []
    table = []
    for version in reports[0]["evidence"].get("realised", []):
        if version["n_labels"] == 0:
            continue
        cells: TableRow = {
            "version": version["version"],
            "n_labels": version["n_labels"],
            "n_readmitted": version["n_readmitted"],
        }
        cells |= dict.fromkeys(REALISED, language.text("too_few"))
        for metric in metric_rows(version["metrics"] or {}):
            if metric.name in REALISED:
                cells[metric.name] = metric.in_one_cell(language)
        table.append(_with_headings(cells, language))
    return table


def realised_over_time(
    reports: Sequence[MonitorReport], metric: str
) -> tuple[list[str], dict[str, list[MetricInterval | None]]]:
    """Return the days of the reports, the oldest first, and a metric of each version on them."""
    days = []
    by_version: dict[str, list[MetricInterval | None]] = {}
    for number, report in enumerate(reversed(reports)):
        days.append(_to_the_minute(report["made_at"]))
        for realised in report["evidence"].get("realised", []):
            if realised["metrics"] and metric in realised["metrics"]:
                line = by_version.setdefault(realised["version"], [None] * len(reports))
                line[number] = realised["metrics"][metric]
    return days, by_version


def ledger(rows: Sequence[LedgerRow], language: Language) -> list[TableRow]:
    """Return the batches with the columns that a reader needs."""
    return [_table_row(row, LEDGER_COLUMNS, language) for row in rows]


def inbox(rows: Sequence[ReceivedFile], language: Language) -> list[TableRow]:
    """Return the files of the inbox with their results."""
    return [_table_row(row, INBOX_COLUMNS, language) for row in rows]


def batches_by_verdict(rows: Sequence[LedgerRow]) -> dict[str, int]:
    """Return the number of batches of each verdict, the most frequent first."""
    return dict(Counter(row["status"] for row in rows).most_common())


def rows_by_verdict(rows: Sequence[LedgerRow]) -> dict[str, int]:
    """Return the number of rows of each row verdict, of the batches whose rows have one."""
    verdicts = {"valid": 0, "quarantined": 0, "excluded": 0}
    for row in rows:
        if row["status"] == "published":
            quarantined = row["n_quarantined"] or 0
            excluded = row["n_excluded"] or 0
            verdicts["valid"] += row["n_rows"] - quarantined - excluded
            verdicts["quarantined"] += quarantined
            verdicts["excluded"] += excluded
    return verdicts


def readmission_rates(
    batches: Sequence[LedgerRow], outcomes: Sequence[BatchOutcome]
) -> dict[str, Share]:
    """Return the readmission rate of each published batch, in the order of publication."""
    by_batch = {outcome["batch_id"]: outcome for outcome in outcomes}
    published = [batch for batch in batches if batch["batch_id"] in by_batch]
    published.sort(key=lambda batch: (batch["published_at"] or "", batch["batch_id"]))
    rates = {}
    for batch in published:
        outcome = by_batch[batch["batch_id"]]
        rates[batch["batch_id"]] = share(outcome["n_readmitted"], outcome["n_stays"])
    return rates


def share(n_cases: int, n_all: int) -> Share:
    """Return a share with its 95 % interval (E. B. Wilson 1927)."""
    figure = n_cases / n_all
    scale = 1 + Z95**2 / n_all
    middle = (figure + Z95**2 / (2 * n_all)) / scale
    half = Z95 / scale * sqrt(figure * (1 - figure) / n_all + (Z95 / (2 * n_all)) ** 2)
    return Share(figure, middle - half, middle + half)


def quarantine(rows: Sequence[QuarantinedRow], language: Language) -> list[TableRow]:
    """Return the rows in quarantine, without the columns that are empty in all of them."""
    columns = []
    for column in QUARANTINE_COLUMNS:
        if any(row.get(column) is not None for row in rows):
            columns.append(column)
    return [_table_row(row, columns, language) for row in rows]


def without_empty_columns(rows: Sequence[Mapping[str, object]]) -> list[TableRow]:
    """Return the rows with the columns that have a value in at least one of them."""
    filled: set[str] = set()
    for row in rows:
        for title, value in row.items():
            if value != "":
                filled.add(title)
    table = []
    for row in rows:
        cells: TableRow = {}
        for title, value in row.items():
            if title in filled:
                cells[title] = value
        table.append(cells)
    return table


def _table_row(row: Mapping[str, object], columns: Sequence[str], language: Language) -> TableRow:
    cells = {name: _cell(name, row.get(name), language) for name in columns}
    return _with_headings(cells, language)


def _with_headings(cells: TableRow, language: Language) -> TableRow:
    return {language.column(name): cell for name, cell in cells.items()}


def _cell(column: str, value: object, language: Language) -> object:
    """Return a cell: plain words, moments to the minute (UTC), figures to three places."""
    if value is None:
        return ""
    if column == "metric":
        return language.metric(str(value))
    if column in VALUE_COLUMNS:
        return language.value(value)
    if column.endswith("_at"):
        return _to_the_minute(str(value))
    if isinstance(value, Mapping):
        value = ", ".join(f"{name}: {content}" for name, content in value.items())
    elif isinstance(value, float):
        value = f"{value:.3f}"
    elif isinstance(value, int) and column.startswith("n_"):
        value = wording.whole(value, language)
    return value


def _to_the_minute(moment: str) -> str:
    """Return an ISO moment without its seconds."""
    return moment[:16].replace("T", " ")


@dataclass(frozen=True)
class Totals:
    """The ledger in four figures."""

    published: int = 0
    rows: int = 0
    quarantined: int = 0
    latest: str | None = None


def totals(batches: Sequence[LedgerRow]) -> Totals:
    """Return the sums over published batches and the latest publication."""
    published = [batch for batch in batches if batch["status"] == "published"]
    moments = [batch["published_at"] for batch in published if batch["published_at"]]
    return Totals(
        published=len(published),
        rows=sum(batch["n_rows"] for batch in published),
        quarantined=sum(batch["n_quarantined"] or 0 for batch in batches),
        latest=max(moments, default=None),
    )
