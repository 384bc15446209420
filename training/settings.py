"""Settings of training: costs, the promotion rule, seeds."""

from pydantic import Field

from readmit.settings import Settings


class TrainingSettings(Settings):
    """What training may be told; the defaults are what the README's figures were measured with."""

    training_seed: int = Field(default=20_260, description="seed of every random choice in training")
    training_threads: int = Field(default=2, ge=1, le=64, description="threads of one candidate")
    training_candidates: str = Field(
        default="logistic,random_forest,lightgbm,blend", description="candidates of a training run, separated by commas"
    )
    follow_up_cost: float = Field(default=100, gt=0, description="cost of a follow-up call after discharge, in US$")
    readmission_cost: float = Field(
        default=15_200, gt=0, description="cost of a readmission, in US$ (HCUP Statistical Brief 278: all-cause, 2018)"
    )
    follow_up_effect: float = Field(
        default=0.05, gt=0, le=1, description="share of readmissions that a follow-up prevents (an assumption)"
    )
    promotion_margin: float = Field(
        default=0.003,
        ge=0,
        le=0.05,
        description="AUROC that a model with newer data may be worse by, at most",
    )
    promotion_floor: float = Field(default=0.6, ge=0.5, le=0.9, description="AUROC below which nothing is promoted")
    bootstrap_replicates: int = Field(default=1000, ge=100, le=100_000, description="resamples of patients")
