"""Types of the JSON documents that the API answers with, for the client and the web form."""

from collections.abc import Mapping
from typing import NotRequired, TypedDict

Value = str | int | float | bool


class ModelIdentity(TypedDict):
    """The model that answered."""

    name: str
    version: str
    run_id: str


class ContractMapping(TypedDict):
    """How a request that was made for another contract was mapped to the served one."""

    hash: str
    defaulted: list[str]
    ignored: list[str]


class ScoredStay(TypedDict):
    """The answer for one stay in a batch."""

    probability: float
    risk: str
    threshold: float
    history: str
    request_id: str
    contract: NotRequired[ContractMapping]


class Prediction(ScoredStay):
    """The answer of `POST /predict`."""

    model: ModelIdentity


class RowError(TypedDict):
    """One wrong field of one row of a batch; rows count from 0."""

    row: int
    field: str
    detail: str


class BatchAnswer(TypedDict):
    """The answer of `POST /predict/batch`: for each row a score, or None and its errors."""

    predictions: list[ScoredStay | None]
    errors: list[RowError]
    model: ModelIdentity
    request_id: str


class FieldContribution(TypedDict):
    """How much the value of one field moves the score, in log-odds."""

    feature: str
    value: Value
    contribution: float


class Explanation(TypedDict):
    """The answer of `POST /explain`; base + contributions = score, in log-odds."""

    base: float
    score: float
    contributions: list[FieldContribution]


class ComparedAnswer(TypedDict):
    """The answer of one version in `POST /compare`, or why it has none."""

    alias: str
    model: ModelIdentity | None
    probability: NotRequired[float]
    risk: NotRequired[str]
    detail: NotRequired[str]


class MetricInterval(TypedDict):
    """A metric with the bounds of its 95 % interval."""

    figure: float
    low: float
    high: float


class CalibrationBin(TypedDict):
    """One quantile bin of predicted risk."""

    predicted: float
    observed: float


class DecisionPoint(TypedDict):
    """Net benefit at one threshold."""

    threshold: float
    net_benefit: float
    call_everybody: float


class LearningPoint(TypedDict):
    """Quality after training on a number of rows."""

    n_rows: int
    auroc: float


class SliceQuality(TypedDict):
    """Quality within one group of patients."""

    slice: str
    value: str
    n: int
    observed: float
    predicted: float
    auroc: float
    low: float
    high: float
    falls_behind: bool


class ContractDocument(TypedDict):
    """The contract of the served model, without its code tables."""

    hash: str
    features: list[dict[str, object]]


class ModelInfo(TypedDict):
    """The answer of `GET /model`; a model registered by hand may lack parts of the report."""

    name: str
    version: str
    run_id: str
    experiment_id: str | None
    promoted_at: str | None
    threshold: float
    contract: ContractDocument
    model_card: str
    data_source: NotRequired[str]
    metrics: NotRequired[dict[str, MetricInterval | float]]
    calibration: NotRequired[list[CalibrationBin]]
    decision_curve: NotRequired[list[DecisionPoint]]
    learning_curve: NotRequired[list[LearningPoint]]
    slices: NotRequired[list[SliceQuality]]


class RegistryState(TypedDict):
    """Whether the API reaches the model registry."""

    up: bool


class Readiness(TypedDict):
    """The answer of `GET /readyz`."""

    status: str
    registry: RegistryState


class LedgerRow(TypedDict):
    """One batch of the ledger."""

    batch_id: str
    status: str
    data_source: str
    n_rows: int
    n_quarantined: int | None
    published_at: str | None


class PromotionDecision(TypedDict):
    """One decision to promote, keep or roll back; scores are absent when nothing was compared."""

    decided_at: str
    decision: str
    gain: float | None
    gain_low: float | None
    gain_high: float | None


class RealisedPerformance(TypedDict):
    """Logged predictions of one version against outcomes that came later."""

    version: str
    n_labels: int
    n_readmitted: int
    metrics: dict[str, MetricInterval] | None


class MonitorEvidence(TypedDict):
    """What a report of the monitor is based on."""

    realised: NotRequired[list[RealisedPerformance]]


class MonitorReport(TypedDict):
    """One report of the monitor."""

    evidence: MonitorEvidence


SeedRow = Mapping[str, str]
QuarantinedRow = Mapping[str, object]
