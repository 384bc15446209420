"""The decisions in `clean.ops.promotions`, append-only."""

import getpass
import json
import os
import uuid
from dataclasses import dataclass, field

from psycopg2 import sql

from readmit import db
from training.promotion_gate import Evidence
from training.training_settings import TrainingSettings


@dataclass(frozen=True)
class Promotion:
    """One decision about the model that is served."""

    decision: str  # promote, keep, rollback or adopt
    model_name: str
    challenger_version: str
    production_version: str | None
    metric: str
    reason: str
    evidence: Evidence
    data_fingerprint: str | None = None
    contract_hash: str | None = None
    git_sha: str | None = None
    decision_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    signed_statement: str | None = None  # readmit.inference.signatures; None for `keep`


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
        "decision_id": promotion.decision_id,
        "signed_statement": promotion.signed_statement,
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


def record_outcome(decision_id: str, settings: TrainingSettings) -> None:
    """Append that a decision took effect: the registry names the version.

    A second call changes nothing.
    """
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "insert into ops.promotion_outcomes (decision_id) values (%s) on conflict do nothing",
            (decision_id,),
        )


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


@dataclass(frozen=True)
class Decision:
    """A decision that changes what is served."""

    decision: str
    version: str
    decision_id: str | None  # None: taken before decisions had ids


def latest(model_name: str, settings: TrainingSettings) -> Decision | None:
    """Return the last promotion, adoption or roll-back, or None.

    A roll-back that never took effect (MLflow failed, and nobody repeated it) is none.
    """
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "select decision, challenger_version, promotions.decision_id::text"
            " from ops.promotions left join ops.promotion_outcomes using (decision_id)"
            " where model_name = %s and decision <> 'keep'"
            " and (decision <> 'rollback' or decision_id is null or finished_at is not null)"
            " order by promotion_id desc limit 1",
            (model_name,),
        )
        row = cur.fetchone()
    if row is None:
        return None
    return Decision(*row)


def last_statement(model_name: str, version: str, settings: TrainingSettings) -> str | None:
    """Return the last signed statement of a decision that put this version in production."""
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "select signed_statement from ops.promotions"
            " where model_name = %s and challenger_version = %s"
            " and decision <> 'keep' and signed_statement is not null"
            " order by promotion_id desc limit 1",
            (model_name, version),
        )
        row = cur.fetchone()
    return None if row is None else str(row[0])
