"""The task of the DAG `monitor_model`: drift of the requests, and realised performance."""

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from readmit import db
from readmit.contract.definition import Contract
from readmit.docs_site import publishing
from training import (
    drift,
    features,
    mlflow_tracking,
    monitor_page,
    realised,
    snapshots,
    training_gauges,
)
from training.drift import Shift
from training.drift_report import DriftReport, Verdict
from training.realised import Realised
from training.snapshots import Snapshot
from training.training_settings import (
    DRIFT_REPLICATES,
    MAX_REQUESTS,
    MIN_ROWS,
    REQUEST_DAYS,
    MonitorSettings,
)

log = logging.getLogger("training")

# Histories of requests with these say how the API was called, not who the patients are.
WITHOUT_HISTORY = ("assumed_first_stay", "unavailable")
SCORE = "probability"
# Inputs, history and scores are compared in three tests, which share the chance of a false alarm,
# drift_alpha.
FAMILIES = 3
# Outcomes come late, often when another version is in production already, so the newest versions
# are judged.
JUDGED_VERSIONS = 5

REQUESTS = """
select features, probability, history, encounter_id from ops.clinical_predictions
where model_name = %s and model_version = %s
    and predicted_at >= clock_timestamp() - make_interval(days => %s)
order by predicted_at desc limit %s
"""


class NothingToMonitor(Exception):
    """There is no production model."""


@dataclass(frozen=True)
class Requests:
    """Recent requests: inputs and history, scores, and whether the history was known."""

    features: pd.DataFrame
    scores: pd.DataFrame
    with_history: "pd.Series[bool]"


def run(settings: MonitorSettings) -> Verdict:
    """Run the monitor once: write the page, the gauges and the row of `ops.monitor_reports`.

    Returns the verdict.

    Raises:
        NothingToMonitor: there is no production model.
    """
    with mlflow_tracking.reaching(settings) as client:
        version = mlflow_tracking.version_at(
            client, settings.model_name, mlflow_tracking.PRODUCTION
        )
        if version is None:
            raise NothingToMonitor("there is no production model yet")
        frozen = snapshots.load(version.tags["snapshot"], settings)
        report = compare(version, frozen, realised_performance(client, settings), settings)
    monitor_page.publish(report, settings)
    publishing.publish_index(settings)
    training_gauges.monitored(report, settings)
    record(report, settings)
    log.info("version %s: %s in %d requests", report.version, report.verdict, report.n_requests)
    return report.verdict


def compare(
    version: ModelVersion,
    frozen: Snapshot,
    performance: list[Realised],
    settings: MonitorSettings,
) -> DriftReport:
    """Compare the recent requests of a version with its snapshot."""
    contract = frozen.contract
    recent = requests(str(version.version), contract, settings)
    recent_with_history = recent.features[recent.with_history]
    train = frozen.split("train")
    inputs = features.names(contract.inputs)
    history = features.names(contract.history)
    return DriftReport(
        version=str(version.version),
        made_at=datetime.now(UTC),
        n_reference=len(train),
        n_requests=len(recent.features),
        n_with_history=len(recent_with_history),
        names=[*inputs, *history],
        inputs=_feature_shifts(train, recent.features, inputs, contract, settings),
        history=_feature_shifts(train, recent_with_history, history, contract, settings),
        score=_score_shift(version, frozen, recent, settings),
        realised=performance,
    )


def _feature_shifts(
    train: pd.DataFrame,
    recent: pd.DataFrame,
    names: list[str],
    contract: Contract,
    settings: MonitorSettings,
) -> list[Shift] | None:
    numbers = frozenset(feature.name for feature in contract.features if feature.kind == "number")
    return drift.compare(train[names], recent[names], train["patient_nbr"], numbers, rule(settings))


def _score_shift(
    version: ModelVersion, frozen: Snapshot, recent: Requests, settings: MonitorSettings
) -> list[Shift] | None:
    """Compare the scores with those of validation rows.

    The train rows do not serve: the scores of rows that a model learned from are too extreme.
    """
    if len(recent.scores) < MIN_ROWS:
        return None
    rows = frozen.split("validation")
    on_validation = mlflow_tracking.scores(version.name, str(version.version), rows, settings)
    scores = pd.DataFrame({SCORE: on_validation})
    return drift.compare(
        scores, recent.scores, rows["patient_nbr"], frozenset({SCORE}), rule(settings)
    )


def rule(settings: MonitorSettings) -> drift.Rule:
    """Return when a column counts as drifted."""
    return drift.Rule(
        threshold=settings.drift_threshold,
        alpha=settings.drift_alpha / FAMILIES,
        least_rows=MIN_ROWS,
        replicates=DRIFT_REPLICATES,
        seed=settings.training_seed,
    )


def requests(version: str, contract: Contract, settings: MonitorSettings) -> Requests:
    """Read the newest clinical requests of a version; of several for a stay, the first counts."""
    parameters = (settings.model_name, version, REQUEST_DAYS, MAX_REQUESTS)
    with (
        db.transaction("reader", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(REQUESTS, parameters)
        log_rows = pd.DataFrame(
            cur.fetchall(), columns=["features", SCORE, "history", "encounter_id"], dtype=object
        )
    stay = log_rows["encounter_id"]
    # The newest stand first, so the last row of a stay is its first request.
    counted = log_rows[stay.isna() | ~stay.duplicated(keep="last")].reset_index(drop=True)
    return Requests(
        features=pd.DataFrame(
            list(counted["features"]), columns=list(contract.base_names), dtype=object
        ),
        scores=counted[[SCORE]].astype("float64"),
        with_history=~counted["history"].isin(WITHOUT_HISTORY),
    )


def realised_performance(client: MlflowClient, settings: MonitorSettings) -> list[Realised]:
    """Judge the newest versions on the outcomes that are known by now."""
    performance = []
    for version in mlflow_tracking.versions(client, settings.model_name)[:JUDGED_VERSIONS]:
        facts, contract = snapshots.described(version.tags["snapshot"], settings)
        labelled = realised.read(str(version.version), contract, settings)
        performance.append(realised.judge(str(version.version), labelled, facts.batches, settings))
    return performance


def record(report: DriftReport, settings: MonitorSettings) -> None:
    """Append the report to `ops.monitor_reports`, where the API and Grafana read it."""
    values = (
        settings.model_name,
        report.version,
        report.n_requests,
        report.verdict,
        json.dumps(report.evidence()),
    )
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "insert into ops.monitor_reports"
            " (model_name, model_version, n_requests, verdict, evidence)"
            " values (%s, %s, %s, %s, %s)",
            values,
        )
