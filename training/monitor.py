"""The tasks of the DAG `monitor_model`: have the requests drifted, and how good were the predictions?"""

import json
import logging
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from readmit import db
from readmit.client.api_client import LOAD_TEST_STAY
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

ASSUMED = "assumed_first_stay"
SCORE = "probability"
# Inputs, history and scores are compared apart; together they may make one false alarm with probability drift_alpha.
FAMILIES = 3
VERSIONS = 5  # outcomes come late, often when another version is in production already

REQUESTS = """
select features, probability, history, encounter_id from ops.predictions
where model_name = %s and model_version = %s and encounter_id is distinct from %s
    and predicted_at >= clock_timestamp() - make_interval(days => %s)
order by predicted_at desc limit %s
"""
Verdict = Literal["drift", "no drift", "too few"]


class NothingToMonitor(Exception):
    """There is no production model."""


@dataclass(frozen=True)
class Requests:
    """What production was asked lately: inputs and history as the model saw them, scores, origin of the history."""

    features: pd.DataFrame
    scores: pd.DataFrame
    with_history: "pd.Series[bool]"


@dataclass(frozen=True)
class Report:
    """What one look found. `inputs`, `history` and `score` are None with too few requests; `names` are all features."""

    version: str
    made_at: datetime
    n_reference: int
    n_requests: int
    n_with_history: int
    names: list[str]
    inputs: list[Shift] | None
    history: list[Shift] | None
    score: list[Shift] | None
    realised: list[Realised]

    @property
    def features(self) -> list[Shift]:
        """All features that were compared, largest distance first."""
        return sorted(
            [*(self.inputs or []), *(self.history or [])], key=lambda shift: -shift.distance
        )

    @property
    def verdict(self) -> Verdict:
        """Drift of any feature or of the score is drift."""
        if self.inputs is None:
            return "too few"
        return (
            "drift"
            if any(shift.drifted for shift in [*self.features, *(self.score or [])])
            else "no drift"
        )


def run(settings: MonitorSettings) -> Verdict:
    """Look once: write the page, the figures and the row of `ops.monitor_reports`; returns the verdict.

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
        found = look(version, frozen, _realised(client, settings), settings)
    monitor_page.publish(found, settings)
    publishing.publish_index(settings)
    training_gauges.monitored(found, settings)
    record(found, settings)
    log.info("version %s: %s in %d requests", found.version, found.verdict, found.n_requests)
    return found.verdict


def look(
    version: ModelVersion, frozen: Snapshot, outcomes: list[Realised], settings: MonitorSettings
) -> Report:
    """Compare the recent requests of a version with its snapshot."""
    asked = requests(str(version.version), frozen.contract, settings)
    train, with_history = frozen.split("train"), asked.features[asked.with_history]
    inputs, past = features.names(frozen.contract.inputs), features.names(frozen.contract.history)
    return Report(
        version=str(version.version),
        made_at=datetime.now(UTC),
        n_reference=len(train),
        n_requests=len(asked.features),
        n_with_history=len(with_history),
        names=[*inputs, *past],
        inputs=_compare(train, asked.features, inputs, frozen.contract, settings),
        # An assumed first stay says how the API was called, not who the patients are.
        history=_compare(train, with_history, past, frozen.contract, settings),
        score=_score_shift(version, frozen, asked, settings),
        realised=outcomes,
    )


def _compare(
    reference: pd.DataFrame,
    asked: pd.DataFrame,
    names: list[str],
    contract: Contract,
    settings: MonitorSettings,
) -> list[Shift] | None:
    numbers = frozenset(feature.name for feature in contract.features if feature.kind == "number")
    return drift.compare(
        reference[names], asked[names], reference["patient_nbr"], numbers, rule(settings)
    )


def _score_shift(
    version: ModelVersion, frozen: Snapshot, asked: Requests, settings: MonitorSettings
) -> list[Shift] | None:
    """Compare with the scores of the validation rows: those of rows that were learned from are too sure."""
    if len(asked.scores) < MIN_ROWS:
        return None
    rows = frozen.split("validation")
    scores = pd.DataFrame({SCORE: mlflow_tracking.scores(version.name, str(version.version), rows)})
    return drift.compare(
        scores, asked.scores, rows["patient_nbr"], frozenset({SCORE}), rule(settings)
    )


def rule(settings: MonitorSettings) -> drift.Rule:
    """Return what counts as drift."""
    return drift.Rule(
        threshold=settings.drift_threshold,
        alpha=settings.drift_alpha / FAMILIES,
        least_rows=MIN_ROWS,
        replicates=DRIFT_REPLICATES,
        seed=settings.training_seed,
    )


def requests(version: str, contract: Contract, settings: MonitorSettings) -> Requests:
    """Read the newest requests of a version; a stay that was asked about several times counts once."""
    asked_for = (
        settings.model_name,
        version,
        LOAD_TEST_STAY,
        REQUEST_DAYS,
        MAX_REQUESTS,
    )
    with (
        db.transaction("reader", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(REQUESTS, asked_for)
        log_rows = pd.DataFrame(
            cur.fetchall(), columns=["features", SCORE, "history", "encounter_id"], dtype=object
        )
    once = log_rows[
        log_rows["encounter_id"].isna() | ~log_rows["encounter_id"].duplicated()
    ].reset_index(drop=True)
    rows = pd.DataFrame(list(once["features"]), columns=list(contract.base_names), dtype=object)
    return Requests(rows, once[[SCORE]].astype("float64"), once["history"] != ASSUMED)


def _realised(client: MlflowClient, settings: MonitorSettings) -> list[Realised]:
    """Judge the newest versions on the outcomes that are known by now."""
    found = []
    for version in mlflow_tracking.versions(client, settings.model_name)[:VERSIONS]:
        origin, contract = snapshots.described(version.tags["snapshot"], settings)
        labelled = realised.read(str(version.version), contract, settings)
        found.append(realised.judge(str(version.version), labelled, origin.batches, settings))
    return found


def evidence(found: Report) -> dict[str, Any]:
    """Return a report as JSON, without the shares of single values, which its page shows."""

    def brief(shift: Shift) -> dict[str, Any]:
        said = asdict(shift)
        return {key: said[key] for key in ("name", "distance", "by_chance", "p", "drifted")}

    return {
        "n_reference": found.n_reference,
        "n_with_history": found.n_with_history,
        "features": [brief(shift) for shift in found.features],
        "score": [brief(shift) for shift in found.score or []],
        "realised": [asdict(each) for each in found.realised],
    }


def record(found: Report, settings: MonitorSettings) -> None:
    """Append the report to `ops.monitor_reports`, where the API and Grafana read it."""
    values = (
        settings.model_name,
        found.version,
        found.n_requests,
        found.verdict,
        json.dumps(evidence(found)),
    )
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "insert into ops.monitor_reports (model_name, model_version, n_requests, verdict, evidence)"
            " values (%s, %s, %s, %s, %s)",
            values,
        )
