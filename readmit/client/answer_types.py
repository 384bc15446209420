"""Types of the JSON that the prediction API answers, for the API, its client and the form.

They cost nothing at run time: an answer is a plain dictionary. OpenAPI's response schemas are
generated from them, and a contract test checks real answers against them.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Literal, NotRequired

# pydantic needs this TypedDict before Python 3.12.
from typing_extensions import TypedDict

Value = str | int | float | bool
SeedRow = Mapping[str, str]
ParamValue = str | int | float
Risk = Literal["high", "low"]
# `unavailable`: it could not be read now, so the score is that of a first stay.
History = Literal["given", "looked_up", "assumed_first_stay", "unavailable"]


class ProblemCode(StrEnum):
    """Why a request was refused. Codes are stable; the English text beside them may change."""

    INVALID_HTTP = "invalid_http"
    HEAD_TOO_LARGE = "head_too_large"
    BAD_REQUEST = "bad_request"
    INVALID_KEY = "invalid_key"
    MISSING_SCOPE = "missing_scope"
    FOREIGN_FORM = "foreign_form"
    NOT_FOUND = "not_found"
    UNKNOWN_SEED = "unknown_seed"
    VERSION_UNAVAILABLE = "version_unavailable"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    SLOW_REQUEST = "slow_request"
    OUTDATED_FORM = "outdated_form"
    BODY_TOO_LARGE = "body_too_large"
    COMPRESSED_BODY = "compressed_body"
    WRONG_MEDIA_TYPE = "wrong_media_type"
    UNKNOWN_HOST = "unknown_host"
    INVALID_FIELDS = "invalid_fields"
    INVALID_JSON = "invalid_json"
    MISSING_ROWS = "missing_rows"
    TOO_MANY_ROWS = "too_many_rows"
    TOO_MANY_FIELDS = "too_many_fields"
    INVALID_CSV = "invalid_csv"
    INVALID_FORM = "invalid_form"
    UNKNOWN_HEADER = "unknown_header"
    DUPLICATE_COLUMNS = "duplicate_columns"
    UNKNOWN_ALIAS = "unknown_alias"
    RATE_LIMITED = "rate_limited"
    INTERNAL_ERROR = "internal_error"
    NO_MODEL = "no_model"
    MEMORY_LIMIT = "memory_limit"
    HISTORY_UNAVAILABLE = "history_unavailable"
    DATABASE_UNREACHABLE = "database_unreachable"
    DATABASE_REFUSED = "database_refused"
    STORE_UNAVAILABLE = "store_unavailable"


class FieldErrorCode(StrEnum):
    """What is wrong with one field of a request."""

    REQUIRED = "required"
    UNKNOWN_FIELD = "unknown_field"
    NOT_ALLOWED = "not_allowed"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"
    TOO_LONG = "too_long"
    NOT_AN_INTEGER = "not_an_integer"
    NOT_A_NUMBER = "not_a_number"
    NOT_FINITE = "not_finite"
    NOT_A_BOOLEAN = "not_a_boolean"
    NOT_A_STRING = "not_a_string"
    NOT_AN_OBJECT = "not_an_object"
    NOT_A_LIST = "not_a_list"
    NOT_JSON = "not_json"
    INVALID_NAME = "invalid_name"
    NO_KNOWN_FIELD = "no_known_field"
    DUPLICATE_COLUMN = "duplicate_column"
    WRONG_NUMBER_OF_CELLS = "wrong_number_of_cells"
    EMPTY_ROW = "empty_row"
    INVALID = "invalid"


class FieldError(TypedDict):
    """A fault of one field; `allowed` lists its legal values, or the first of `n_allowed`."""

    field: str
    code: FieldErrorCode
    params: Mapping[str, ParamValue]
    detail: str
    allowed: NotRequired[Sequence[Value]]
    n_allowed: NotRequired[int]


class ProblemDocument(TypedDict):
    """An RFC 9457 problem document.

    Programs read `code` and `params`, people `title` and `detail`.
    """

    type: Literal["about:blank"]
    title: str
    status: int
    code: ProblemCode
    params: Mapping[str, ParamValue]
    detail: str
    errors: NotRequired[Sequence[FieldError]]


class RowError(TypedDict):
    """What is wrong with one field of one row of a batch; rows count from 0."""

    row: int
    field: str
    code: FieldErrorCode
    params: Mapping[str, ParamValue]
    detail: str


class ModelIdentity(TypedDict):
    """The model version that answered."""

    name: str
    version: str
    run_id: str


class ContractMapping(TypedDict):
    """How a request for another contract was mapped: fields that got defaults, fields dropped."""

    hash: str
    defaulted: Sequence[str]
    ignored: Sequence[str]


class Interval(TypedDict):
    """A figure with its 95 % interval, which it always has."""

    figure: float
    low: float
    high: float


class CapacityBand(TypedDict):
    """Whether a ward that can call `calls_per_100` of 100 patients calls this one (`high`).

    `threshold` is the risk that so many validation patients reached.
    """

    calls_per_100: int
    threshold: float
    risk: Risk


class ScoredStay(TypedDict):
    """The probability of readmission within 30 days, and what it was computed from.

    `risk` is by the threshold from costs, `capacity` by the calls that a ward can make; null when
    the model was registered without it.
    """

    probability: float
    risk: Risk
    threshold: float
    capacity: CapacityBand | None
    history: History
    request_id: str
    contract: NotRequired[ContractMapping]


class Certainty(TypedDict):
    """How sure the answer is.

    `observed` is the share of readmissions among the `n_stays` validation stays with such a score.
    `is_unlike_training` says that inputs and history together are rarer than those of 99 of 100
    validation stays; `unusual_fields` then names the inputs with the rarest values.
    """

    observed: Interval
    n_stays: int
    is_unlike_training: bool
    unusual_fields: Sequence[str]


class Prediction(ScoredStay):
    """Answer of POST /predict; `certainty` is null when the model was registered without it."""

    model: ModelIdentity
    certainty: Certainty | None


class BatchStay(ScoredStay):
    """A row of a batch; `certainty` is there when the call asks for it, as in `Prediction`."""

    certainty: NotRequired[Certainty | None]


class BatchAnswer(TypedDict):
    """Answer of POST /predict/batch: per row a score, or null and at least one error.

    `allowed` has the legal values of the fields with errors.
    """

    predictions: list[BatchStay | None]
    errors: list[RowError]
    allowed: Mapping[str, Sequence[Value]]
    model: ModelIdentity
    request_id: str


class FieldContribution(TypedDict):
    """How far one field moved the score, in log-odds.

    Without the scope `history`, all fields of a history that was looked up are one entry, `history`
    with the value null.
    """

    feature: str
    value: Value | None
    contribution: float


class Contributions(TypedDict):
    """Base, contributions and score in log-odds: base + contributions = score."""

    base: float
    score: float
    contributions: list[FieldContribution]
    unit: Literal["log-odds"]
    method: str


class Explanation(Contributions):
    """Answer of POST /explain."""

    probability: float
    history: History
    model: ModelIdentity
    request_id: str


class ComparedAnswer(TypedDict):
    """What one version answers in POST /compare: a score, or why it has none.

    `model` is null when no version has the alias.
    """

    alias: str
    model: ModelIdentity | None
    probability: NotRequired[float]
    risk: NotRequired[Risk]
    threshold: NotRequired[float]
    capacity: NotRequired[CapacityBand | None]
    history: NotRequired[History]
    request_id: NotRequired[str]
    contract: NotRequired[ContractMapping]
    code: NotRequired[ProblemCode]
    params: NotRequired[Mapping[str, ParamValue]]
    detail: NotRequired[str]
    errors: NotRequired[Sequence[FieldError]]


class Comparison(TypedDict):
    """Answer of POST /compare: production first, then the other version."""

    answers: list[ComparedAnswer]
    request_id: str


class MetricInterval(TypedDict):
    """A metric with its 95 % interval."""

    figure: float
    low: float | None
    high: float | None


class CalibrationBin(TypedDict):
    """Predicted and observed risk of the rows in one quantile of predicted risk."""

    predicted: float
    observed: float
    n: int


class DecisionPoint(TypedDict):
    """Net benefit of alerts at one threshold, beside calling every patient."""

    threshold: float
    net_benefit: float
    call_everybody: float


class CapacityPoint(TypedDict):
    """What a ward gets on validation that can call so many of 100 patients, with 95 % intervals.

    `called` and `readmissions_found` are shares. `calls_per_readmission`
    is null when none is found.
    """

    calls_per_100: int
    threshold: float
    called: Interval
    readmissions_found: Interval
    calls_per_readmission: Interval | None


class ScoreBin(Interval):
    """The rate of readmission of the `n` validation stays with a score from `lowest` on."""

    lowest: float
    n: int


class LearningPoint(TypedDict):
    """Validation figures of a model that was trained on the first batches only."""

    n_batches: int
    n_rows: int
    auroc: float
    low: float
    high: float
    average_precision: float


class SliceQuality(TypedDict):
    """Ranking within one group of patients."""

    slice: str
    value: str
    n: int
    observed: float
    predicted: float
    auroc: float
    low: float
    high: float
    falls_behind: bool


class FormText(TypedDict):
    """How the form asks for an input: texts by language."""

    group: str | Mapping[str, str]
    label: Mapping[str, str]
    help: Mapping[str, str]


class FeatureDocument(TypedDict):
    """One feature of the contract."""

    name: str
    role: Literal["input", "history", "derived"]
    kind: Literal["category", "number", "flag"]
    data_type: str
    description: str
    label: NotRequired[Mapping[str, str]]
    values: Sequence[Value] | None
    seed: str | None
    min: float | None
    max: float | None
    unit: str | None
    default: Value | None
    form: FormText | None
    derive: Mapping[str, object] | None
    source: NotRequired[Mapping[str, str | None]]


class LabelDocument(TypedDict):
    """What the model predicts."""

    name: str
    data_type: str
    description: str


class ContractDocument(TypedDict):
    """The contract of the served model; GET /model/seeds/{seed} has its code tables."""

    hash: str
    version: int
    features: Sequence[FeatureDocument]
    label: LabelDocument


class ModelInfo(ModelIdentity):
    """Answer of GET /model: the served version, its report from training, contract and card."""

    experiment_id: str | None
    promoted_at: str | None
    threshold: float
    contract: ContractDocument
    model_card: str
    metrics: NotRequired[Mapping[str, MetricInterval | float]]
    candidate: NotRequired[str]
    operating_point: NotRequired[Mapping[str, float]]
    calibration: NotRequired[list[CalibrationBin]]
    slices: NotRequired[list[SliceQuality]]
    decision_curve: NotRequired[list[DecisionPoint]]
    capacity: NotRequired[list[CapacityPoint]]
    score_bins: NotRequired[list[ScoreBin]]
    learning_curve: NotRequired[list[LearningPoint]]
    data_source: NotRequired[str]
    data_fingerprint: NotRequired[str]
    contract_hash: NotRequired[str]
    git_sha: NotRequired[str]
    lock_sha256: NotRequired[str]
    seed: NotRequired[str]
    batches: NotRequired[Sequence[str]]
    n_batches: NotRequired[str]
    n_train: NotRequired[int]
    n_validation: NotRequired[int]
    n_test: NotRequired[int]
    n_excluded: NotRequired[int]
    n_quarantined: NotRequired[int]


class CodeTable(TypedDict):
    """Answer of GET /model/seeds/{seed}: rows with `code`, `description` and attributes."""

    rows: list[SeedRow]


class PromotionDecision(TypedDict):
    """One decision to promote, keep or roll back: a row of ops.promotions."""

    promotion_id: int
    decided_at: str
    decision: Literal["promote", "keep", "rollback", "adopt"]
    model_name: str
    challenger_version: str | None
    production_version: str | None
    challenger_score: float | None
    production_score: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    metric: str
    data_fingerprint: str | None
    contract_hash: str | None
    git_sha: str | None
    actor: str
    reason: str
    evidence: Mapping[str, object]


class PromotionHistory(TypedDict):
    """Answer of GET /model/history, the newest first."""

    promotions: list[PromotionDecision]


class LedgerRow(TypedDict):
    """One batch of the ledger: a row of landing.batches."""

    batch_id: str
    split: Literal["validation", "test", "train", "none"]
    ordinal: int
    first_source_row: int | None
    last_source_row: int | None
    n_rows: int
    source_sha256: str
    content_sha256: str | None
    data_source: Literal["uci", "file", "url", "sample"]
    status: Literal["refused", "loaded", "rejected", "superseded", "published"]
    supersedes: str | None
    n_quarantined: int | None
    n_excluded: int | None
    n_erased: int
    reason: str | None
    loaded_at: str | None
    published_at: str | None
    dag_run_id: str | None


class Batches(TypedDict):
    """Answer of GET /data/batches, the newest first."""

    batches: list[LedgerRow]


class ReceivedFile(TypedDict):
    """One version of a file of the inbox and its result: a row of landing.inbox.

    `state`: refused (nothing of it is loaded), known (no row is new), waiting, published, or
    rejected (one of its batches was). `reason` tells why it was refused or rejected.
    """

    name: str
    file_sha256: str
    received_at: str
    state: Literal["refused", "known", "waiting", "published", "rejected"]
    reason: str | None
    n_rows: int | None
    n_known: int | None
    n_changed: int | None


class SubmittedFile(TypedDict):
    """Answer of POST /submit: the file as the inbox has it; GET /data/inbox has its result."""

    name: str
    file_sha256: str
    n_bytes: int


class Inbox(TypedDict):
    """Answer of GET /data/inbox, the newest first."""

    files: list[ReceivedFile]


class BatchOutcome(TypedDict):
    """How many published stays a batch has, and how many were readmitted within 30 days."""

    batch_id: str
    n_stays: int
    n_readmitted: int


class Outcomes(TypedDict):
    """Answer of GET /data/outcomes, by batch."""

    outcomes: list[BatchOutcome]


class QuarantinedRow(TypedDict):
    """One raw row that broke a rule: a row of quarantine.encounters."""

    _batch_id: str
    _source_row: int
    _build_id: str
    encounter_id: int | None
    patient_nbr: int | None
    reason: str
    raw_values: Mapping[str, str]
    released_at: str | None
    released_by: str | None
    corrected: Mapping[str, str] | None


class Quarantine(TypedDict):
    """Answer of GET /data/quarantine."""

    rows: list[QuarantinedRow]


class PublishedAge(TypedDict):
    """When the newest batch was published, and how many seconds ago; null before the first."""

    published_at: str | None
    n_published: int
    age_seconds: float | None


class Freshness(TypedDict):
    """Answer of GET /data/freshness: one row."""

    freshness: list[PublishedAge]


class FeatureShift(TypedDict):
    """How far the values of one feature or of the score moved from the training data."""

    name: str
    distance: float
    by_chance: float
    p: float
    drifted: bool


class RealisedPerformance(TypedDict):
    """How one version did on stays whose outcome is known."""

    version: str
    n_labels: int
    n_readmitted: int
    n_known_before: int
    metrics: Mapping[str, MetricInterval] | None
    calibration: list[CalibrationBin]


class MonitorEvidence(TypedDict, total=False):
    """What a verdict of the monitor rests on."""

    n_reference: int
    n_with_history: int
    features: list[FeatureShift]
    score: list[FeatureShift]
    realised: list[RealisedPerformance]


class MonitorReport(TypedDict):
    """One report of the daily monitor: a row of ops.monitor_reports."""

    report_id: int
    made_at: str
    model_name: str
    model_version: str
    n_requests: int
    verdict: Literal["drift", "no drift", "too few"]
    evidence: MonitorEvidence


class Monitoring(TypedDict):
    """Answer of GET /data/monitoring, the newest first."""

    reports: list[MonitorReport]


class Liveness(TypedDict):
    """Answer of GET /livez."""

    status: Literal["alive"]


ReadyModel = TypedDict(
    "ReadyModel",
    {"name": str, "version": str, "run_id": str, "contract_hash": str, "from": str},
)


class RegistryState(TypedDict):
    """Whether the model registry answered the last time, at which second since 1970."""

    up: bool
    checked_at: float | None
    error: str | None


class RefusedVersion(TypedDict):
    """The last version that failed its checks, and which one."""

    version: str
    reason: str


class PredictionLogState(TypedDict):
    """How many predictions wait for Postgres, and the last fault."""

    waiting: int
    error: str | None


class Readiness(TypedDict):
    """Answer of GET /readyz; `beside` has the standby versions by alias."""

    status: Literal["ready", "not ready"]
    model: ReadyModel | None
    beside: Mapping[str, ModelIdentity]
    registry: RegistryState
    refused: RefusedVersion | None
    prediction_log: PredictionLogState
