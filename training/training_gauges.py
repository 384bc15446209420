"""What training and the monitor tell the Pushgateway: rows, figures, the decision, the sealed test, drift."""

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from readmit import db
from readmit.telemetry import pushgateway
from readmit.telemetry.metrics import Job
from readmit.telemetry.pushgateway import GaugeValues
from training import snapshots
from training.model_metrics import Figure
from training.promotions import Promotion
from training.snapshots import Facts
from training.training_settings import MonitorSettings, TrainingSettings

if TYPE_CHECKING:
    from training.evaluation import Evaluation
    from training.monitor import Report

DECISIONS = ("promote", "keep", "rollback")


def snapshot(facts: Facts, settings: TrainingSettings) -> None:
    """Report the rows of a snapshot."""
    rows = {"train": facts.n_train, "validation": facts.n_validation, "test": facts.n_test}
    pushgateway.report(Job.TRAINING, lambda: {"readmit_training_rows": rows}, settings)


def candidate(
    name: str, evaluated: "Evaluation", seconds: float, settings: TrainingSettings
) -> None:
    """Report a candidate's figures on the validation rows, and how long fitting and evaluating took."""
    scores = {metric: figure["figure"] for metric, figure in evaluated.metrics.items()}
    behind = float(len(evaluated.behind()))
    pushgateway.report(
        Job.TRAINING,
        lambda: {
            "readmit_training_seconds": seconds,
            "readmit_training_score": scores,
            "readmit_slices_behind": behind,
        },
        settings,
        {"candidate": name},
    )


def decision(row: Promotion, settings: TrainingSettings) -> None:
    """Report a decision with what it compared."""
    said = row.evidence
    pushgateway.report(
        Job.TRAINING,
        lambda: {
            "readmit_promotion_decision": pushgateway.one_of(row.decision, DECISIONS),
            "readmit_promotion_auroc": {
                side: said.get(f"{side}_score") for side in ("challenger", "production")
            },
            "readmit_promotion_gain": {
                "estimate": said.get("gain"),
                "low": said.get("gain_low"),
                "high": said.get("gain_high"),
            },
            "readmit_decided_timestamp_seconds": time.time(),
        },
        settings,
    )


def production(snapshot_id: str, settings: TrainingSettings) -> None:
    """Report when the youngest batch was published that the model in production learned from."""
    pushgateway.report(
        Job.TRAINING,
        lambda: {
            "readmit_model_data_timestamp_seconds": _published(
                snapshots.facts(snapshot_id, settings), settings
            )
        },
        settings,
    )


def sealed(scored: Mapping[str, Figure], settings: TrainingSettings) -> None:
    """Report the figures on the sealed test."""
    scores = {metric: figure["figure"] for metric, figure in scored.items()}
    pushgateway.report(Job.TRAINING, lambda: {"readmit_sealed_score": scores}, settings)


def monitored(found: "Report", settings: MonitorSettings) -> None:
    """Report drift and realised performance of the version in production."""
    pushgateway.report(
        Job.MONITOR, lambda: {**_drift(found, settings), **_realised(found)}, settings
    )


def _drift(found: "Report", settings: MonitorSettings) -> GaugeValues:
    """With too few requests distances are not a number: an earlier version's would stay otherwise."""
    unknown, quiet = dict.fromkeys(found.names, math.nan), dict.fromkeys(found.names, 0.0)
    score = found.score[0] if found.score else None
    return {
        "readmit_monitored_rows": {"reference": found.n_reference, "current": found.n_requests},
        "readmit_feature_drift": unknown | {shift.name: shift.distance for shift in found.features},
        "readmit_feature_drifted": quiet
        | {shift.name: float(shift.drifted) for shift in found.features},
        "readmit_drifted_features": sum(shift.drifted for shift in found.features),
        "readmit_drift_threshold": settings.drift_threshold,
        "readmit_score_drift": score.distance if score else math.nan,
        "readmit_score_drifted": float(score.drifted) if score else 0.0,
        "readmit_drift_detected": float(found.verdict == "drift"),
        "readmit_monitored_timestamp_seconds": found.made_at.timestamp(),
    }


def _realised(found: "Report") -> GaugeValues:
    known = next((each for each in found.realised if each.version == found.version), None)
    if known is None:
        return {}
    metrics = known.metrics or {}
    nothing: Figure = {"figure": math.nan, "low": math.nan, "high": math.nan}
    auroc, ap = metrics.get("auroc", nothing), metrics.get("average_precision", nothing)
    return {
        "readmit_realised_labels": known.n_labels,
        "readmit_realised_auroc": {
            "estimate": auroc["figure"],
            "low": auroc["low"],
            "high": auroc["high"],
        },
        "readmit_realised_ap": {"estimate": ap["figure"], "low": ap["low"], "high": ap["high"]},
        "readmit_realised_rate": metrics.get("observed_rate", nothing)["figure"],
        "readmit_predicted_rate": metrics.get("predicted_rate", nothing)["figure"],
    }


def _published(facts: Facts, settings: TrainingSettings) -> float | None:
    """Return when the youngest batch of a snapshot was published, in seconds since 1970."""
    statement = (
        "select extract(epoch from max(published_at)) from landing.batches where batch_id = any(%s)"
    )
    with db.transaction("reader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(statement, (facts.batches,))
        (moment,) = cur.fetchone() or (None,)
    return None if moment is None else float(moment)
