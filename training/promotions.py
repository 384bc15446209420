"""The decisions in `clean.ops.promotions`, append-only."""

import getpass
import json
import os
from dataclasses import dataclass

from psycopg2 import sql

from readmit import db
from training.promotion_gate import Evidence
from training.training_settings import TrainingSettings


@dataclass(frozen=True)
class Promotion:
    """One decision about the model that is served."""

    decision: str  # promote, keep or rollback
    model_name: str
    challenger_version: str
    production_version: str | None
    metric: str
    reason: str
    evidence: Evidence
    data_fingerprint: str | None = None
    contract_hash: str | None = None
    git_sha: str | None = None


def actor() -> str:
    """Return who decides: the DAG run in Airflow, else the user."""
    run_id = os.environ.get("AIRFLOW_CTX_DAG_RUN_ID")
    if run_id:
        return f"airflow {os.environ.get('AIRFLOW_CTX_DAG_ID', '')} {run_id}".strip()
    return os.environ.get("SUDO_USER") or getpass.getuser()


def record(promotion: Promotion, settings: TrainingSettings) -> None:
    """Append a decision."""
    evidence = promotion.evidence
    values: dict[str, str | float | None] = {
        "decision": promotion.decision,
        "model_name": promotion.model_name,
        "challenger_version": promotion.challenger_version,
        "production_version": promotion.production_version,
        "challenger_score": evidence.get("challenger_score"),
        "production_score": evidence.get("production_score"),
        "gain": evidence.get("gain"),
        "gain_low": evidence.get("gain_low"),
        "gain_high": evidence.get("gain_high"),
        "metric": promotion.metric,
        "data_fingerprint": promotion.data_fingerprint,
        "contract_hash": promotion.contract_hash,
        "git_sha": promotion.git_sha,
        "actor": actor(),
        "reason": promotion.reason,
        "evidence": json.dumps(evidence),
    }
    insert = sql.SQL("insert into ops.promotions ({}) values ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(map(sql.Placeholder, values)),
    )
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(insert, values)


def decision_on(model_name: str, version: str, settings: TrainingSettings) -> str | None:
    """Return the latest decision in which `version` was the challenger, or None."""
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "select decision from ops.promotions where model_name = %s and challenger_version = %s"
            " and decision <> 'rollback' order by promotion_id desc limit 1",
            (model_name, version),
        )
        row = cur.fetchone()
    return None if row is None else str(row[0])


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
        row = cur.fetchone()
    if row is None:
        return None
    decision, version = row
    return str(decision), str(version)
