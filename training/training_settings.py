"""Settings of training: costs, the promotion rule, seeds."""

from pydantic import Field

from readmit.settings import (
    ApiClientSettings,
    JobSettings,
    ModelSigning,
    ModelVerification,
    PageSettings,
    RegistrySettings,
    Settings,
    TrainerLogin,
    TrainerStore,
)

# Constants of the monitor, not settings: the alerts, the drift page and docs/monitoring.md are
# written for these values. READMIT_DRIFT_THRESHOLD and READMIT_DRIFT_ALPHA make the monitor more or
# less strict.
REQUEST_DAYS = 30  # long enough to gather requests, short enough that a change shows within weeks
MAX_REQUESTS = 10_000  # the newest of them: a share is then known to within 0.01
MIN_ROWS = 200  # with fewer requests or outcomes a share is known to within 0.07 at best
MIN_CASES = 20  # readmissions (and other stays) that an interval of the AUROC needs
DRIFT_REPLICATES = 500  # the smallest p-value is 1/501, below a third of READMIT_DRIFT_ALPHA


class CandidateSettings(Settings):
    """How candidates are fitted, evaluated and judged.

    The results in the README were measured with the defaults.
    """

    training_seed: int = Field(
        default=20_260, description="seed of every random choice in training"
    )
    training_threads: int = Field(default=2, ge=1, le=64, description="threads of one candidate")
    training_candidates: str = Field(
        default="catboost,random_forest,lightgbm,logistic",
        description="candidates of a training run, separated by commas. Of those whose AUROC is"
        " within the promotion margin of the best, the first is registered",
    )
    follow_up_cost: float = Field(
        default=100, gt=0, description="cost of a follow-up call after discharge, in US$"
    )
    readmission_cost: float = Field(
        default=15_200,
        gt=0,
        description="cost of a readmission, in US$ (HCUP Statistical Brief 278: all-cause, 2018)",
    )
    follow_up_effect: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="share of readmissions that a follow-up prevents (an assumption)",
    )
    promotion_margin: float = Field(
        default=0.003,
        ge=0,
        le=0.05,
        description="AUROC that a model with newer data may be worse by, at most; candidates that"
        " differ by less rank alike",
    )
    promotion_floor: float = Field(
        default=0.6, ge=0.5, le=0.9, description="AUROC below which nothing is promoted"
    )
    bootstrap_replicates: int = Field(
        default=1000, ge=100, le=100_000, description="resamples of patients"
    )


class TrainingSettings(
    JobSettings,
    TrainerLogin,
    TrainerStore,
    RegistrySettings,
    ModelSigning,
    PageSettings,
    CandidateSettings,
):
    """Settings of training."""


class NotebookSettings(
    TrainerLogin,
    TrainerStore,
    ModelVerification,
    PageSettings,
    ApiClientSettings,
    CandidateSettings,
):
    """What the notebook of `make notebook` has, besides a log-in at MLflow of its own.

    It reads them as `TrainingSettings`, whose other log-ins are then empty.
    """


class MonitorSettings(TrainingSettings):
    """Settings of the monitor: which requests are compared, and what counts as drift.

    See docs/monitoring.md.
    """

    drift_threshold: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="share of requests that would have to change, beyond chance, to matter",
    )
    drift_alpha: float = Field(
        default=0.01, gt=0, le=0.2, description="chance of a false alarm in a run"
    )
