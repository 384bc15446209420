"""`clean.ops.promotions`: every decision, append-only."""

import getpass
import json
import os
from dataclasses import dataclass
from typing import Any

from readmit import db
from training.training_settings import TrainingSettings

COLUMNS = (
    "decision, model_name, challenger_version, production_version, challenger_score, production_score,"
    " gain, gain_low, gain_high, metric, data_fingerprint, contract_hash, git_sha, actor, reason, evidence"
)


@dataclass(frozen=True)
class Promotion:
    """One decision about what is served."""

    decision: str  # promote, keep or rollback
    model_name: str
    challenger_version: str
    production_version: str | None
    metric: str
    reason: str
    evidence: dict[str, Any]
    data_fingerprint: str | None = None
    contract_hash: str | None = None
    git_sha: str | None = None


def actor() -> str:
    """Return who decides: the DAG run in Airflow, else the user."""
    if run := os.environ.get("AIRFLOW_CTX_DAG_RUN_ID"):
        return f"airflow {os.environ.get('AIRFLOW_CTX_DAG_ID', '')} {run}".strip()
    return os.environ.get("SUDO_USER") or getpass.getuser()


def record(row: Promotion, settings: TrainingSettings) -> None:
    """Append a decision."""
    said = row.evidence
    scores = [
        said.get(k)
        for k in ("challenger_score", "production_score", "gain", "gain_low", "gain_high")
    ]
    values = [
        row.decision,
        row.model_name,
        row.challenger_version,
        row.production_version,
        *scores,
        row.metric,
    ]
    values += [
        row.data_fingerprint,
        row.contract_hash,
        row.git_sha,
        actor(),
        row.reason,
        json.dumps(said),
    ]
    places = ", ".join(["%s"] * len(values))
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(f"insert into ops.promotions ({COLUMNS}) values ({places})", values)  # noqa: S608 (no input in it)


def decision_on(model_name: str, version: str, settings: TrainingSettings) -> str | None:
    """Return the latest decision that was taken when `version` was the challenger, or None."""
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "select decision from ops.promotions where model_name = %s and challenger_version = %s"
            " and decision <> 'rollback' order by promotion_id desc limit 1",
            (model_name, version),
        )
        found = cur.fetchone()
    return str(found[0]) if found else None


def latest(model_name: str, settings: TrainingSettings) -> tuple[str, str] | None:
    """Return decision and challenger of the last promotion or roll-back, or None."""
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "select decision, challenger_version from ops.promotions where model_name = %s"
            " and decision <> 'keep' order by promotion_id desc limit 1",
            (model_name,),
        )
        found = cur.fetchone()
    return (str(found[0]), str(found[1])) if found else None
