"""What training and the monitor push to the Pushgateway."""

import math
import time
from collections.abc import Mapping

from readmit import db
from readmit.telemetry import pushgateway
from readmit.telemetry.metrics import Job
from readmit.telemetry.pushgateway import GaugeValues
from training import snapshots
from training.drift_report import DriftReport
from training.evaluation import Evaluation
from training.model_metrics import Estimate
from training.promotions import Promotion
from training.realised import Realised
from training.snapshots import Facts
from training.training_settings import MonitorSettings, TrainingSettings

DECISIONS = ("promote", "keep", "rollback")
UNKNOWN: Estimate = {"figure": math.nan, "low": math.nan, "high": math.nan}


def snapshot(facts: Facts, settings: TrainingSettings) -> None:
    """Report the rows of a snapshot."""
    rows = {"train": facts.n_train, "validation": facts.n_validation, "test": facts.n_test}
    pushgateway.report(Job.TRAINING, lambda: {"readmit_training_rows": rows}, settings)


def candidate(name: str, evaluated: Evaluation, seconds: float, settings: TrainingSettings) -> None:
    """Report the metrics of a candidate on the validation rows.

    Args:
        name: of the candidate.
        evaluated: its metrics.
        seconds: that fitting and evaluating took.
        settings: where the Pushgateway is.
    """
    gauges: GaugeValues = {
        "readmit_training_seconds": seconds,
        "readmit_training_score": _figures(evaluated.metrics),
        "readmit_slices_behind": float(len(evaluated.behind())),
    }
    pushgateway.report(Job.TRAINING, lambda: gauges, settings, {"candidate": name})


def decision(promotion: Promotion, settings: TrainingSettings) -> None:
    """Report a decision with the scores that it compared."""
    evidence = promotion.evidence
    gauges: GaugeValues = {
        "readmit_promotion_decision": pushgateway.one_of(promotion.decision, DECISIONS),
        "readmit_promotion_auroc": {
            "challenger": evidence.get("challenger_score"),
            "production": evidence.get("production_score"),
        },
        "readmit_promotion_gain": {
            "estimate": evidence.get("gain"),
            "low": evidence.get("gain_low"),
            "high": evidence.get("gain_high"),
        },
        "readmit_decided_timestamp_seconds": time.time(),
    }
    pushgateway.report(Job.TRAINING, lambda: gauges, settings)


def production(snapshot_id: str, settings: TrainingSettings) -> None:
    """Report when the youngest batch was published that the production model learned from."""

    # An error in this function is a warning in the log, as for all gauges.
    def gauges() -> GaugeValues:
        facts = snapshots.facts(snapshot_id, settings)
        return {"readmit_model_data_timestamp_seconds": _last_published(facts, settings)}

    pushgateway.report(Job.TRAINING, gauges, settings)


def sealed(estimates: Mapping[str, Estimate], settings: TrainingSettings) -> None:
    """Report the metrics on the sealed test."""
    gauges: GaugeValues = {"readmit_sealed_score": _figures(estimates)}
    pushgateway.report(Job.TRAINING, lambda: gauges, settings)


def monitored(report: DriftReport, settings: MonitorSettings) -> None:
    """Report drift and realised performance of the version in production."""
    pushgateway.report(
        Job.MONITOR, lambda: {**drift_gauges(report, settings), **realised_gauges(report)}, settings
    )


def drift_gauges(report: DriftReport, settings: MonitorSettings) -> GaugeValues:
    """Return the drift of each feature and of the score.

    With too few requests every distance is NaN: otherwise the Pushgateway would keep those of an
    earlier version.
    """
    distances = dict.fromkeys(report.names, math.nan)
    drifted = dict.fromkeys(report.names, 0.0)
    for shift in report.features:
        distances[shift.name] = shift.distance
        drifted[shift.name] = float(shift.drifted)
    score_distance = math.nan
    score_drifted = 0.0
    if report.score:
        score_distance = report.score[0].distance
        score_drifted = float(report.score[0].drifted)
    return {
        "readmit_monitored_rows": {"reference": report.n_reference, "current": report.n_requests},
        "readmit_feature_drift": distances,
        "readmit_feature_drifted": drifted,
        "readmit_drifted_features": sum(shift.drifted for shift in report.features),
        "readmit_drift_threshold": settings.drift_threshold,
        "readmit_score_drift": score_distance,
        "readmit_score_drifted": score_drifted,
        "readmit_drift_detected": float(report.verdict == "drift"),
        "readmit_monitored_timestamp_seconds": report.made_at.timestamp(),
    }


def realised_gauges(report: DriftReport) -> GaugeValues:
    """Return the realised performance of the version in production."""
    for performance in report.realised:
        if performance.version == report.version:
            return _performance_gauges(performance)
    return {}


def _performance_gauges(performance: Realised) -> GaugeValues:
    """Return NaN for each metric while there are too few outcomes."""
    metrics = performance.metrics or {}
    auroc = metrics.get("auroc", UNKNOWN)
    average_precision = metrics.get("average_precision", UNKNOWN)
    return {
        "readmit_realised_labels": performance.n_labels,
        "readmit_realised_auroc": _with_interval(auroc),
        "readmit_realised_ap": _with_interval(average_precision),
        "readmit_realised_rate": metrics.get("observed_rate", UNKNOWN)["figure"],
        "readmit_predicted_rate": metrics.get("predicted_rate", UNKNOWN)["figure"],
    }


def _figures(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    return {metric: estimate["figure"] for metric, estimate in estimates.items()}


def _with_interval(estimate: Estimate) -> dict[str, float]:
    return {"estimate": estimate["figure"], "low": estimate["low"], "high": estimate["high"]}


def _last_published(facts: Facts, settings: TrainingSettings) -> float | None:
    """Return when the youngest batch of a snapshot was published, in seconds since 1970."""
    statement = (
        "select extract(epoch from max(published_at)) from landing.batches where batch_id = any(%s)"
    )
    with db.transaction("reader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(statement, (facts.batches,))
        row = cur.fetchone()
    if row is None or row[0] is None:
        return None
    return float(row[0])
