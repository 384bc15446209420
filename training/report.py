"""What training tells the Pushgateway: rows, figures of the candidates, the decision, the sealed test."""

import time
from collections.abc import Mapping

from readmit import db, push
from readmit.metrics import Giver
from readmit.settings import Settings
from training import snapshots
from training.figures import Figure
from training.promotions import Promotion
from training.snapshots import Facts

DECISIONS = ("promote", "keep", "rollback")


def snapshot(facts: Facts) -> None:
    """Report the rows of a snapshot."""
    rows = {"train": facts.n_train, "validation": facts.n_validation, "test": facts.n_test}
    push.report(Giver.TRAINING, lambda: {"readmit_training_rows": rows})


def candidate(name: str, metrics: Mapping[str, Figure], seconds: float) -> None:
    """Report a candidate's figures on the validation rows, and how long fitting and evaluating took."""
    scores = {metric: figure["figure"] for metric, figure in metrics.items()}
    push.report(
        Giver.TRAINING,
        lambda: {"readmit_training_seconds": seconds, "readmit_training_score": scores},
        {"candidate": name},
    )


def decision(row: Promotion, settings: Settings) -> None:
    """Report a decision with what it compared."""
    said = row.evidence
    push.report(
        Giver.TRAINING,
        lambda: {
            "readmit_promotion_decision": push.one_of(row.decision, DECISIONS),
            "readmit_promotion_auroc": {side: said.get(f"{side}_score") for side in ("challenger", "production")},
            "readmit_promotion_gain": {
                "estimate": said.get("gain"),
                "low": said.get("gain_low"),
                "high": said.get("gain_high"),
            },
            "readmit_decided_timestamp_seconds": time.time(),
        },
        settings=settings,
    )


def production(snapshot_id: str, settings: Settings) -> None:
    """Report of when the data is that the model in production learned from."""
    push.report(
        Giver.TRAINING,
        lambda: {"readmit_model_data_timestamp_seconds": _published(snapshots.facts(snapshot_id, settings), settings)},
        settings=settings,
    )


def sealed(scored: Mapping[str, Figure]) -> None:
    """Report the figures on the sealed test."""
    scores = {metric: figure["figure"] for metric, figure in scored.items()}
    push.report(Giver.TRAINING, lambda: {"readmit_sealed_score": scores})


def _published(facts: Facts, settings: Settings) -> float | None:
    """Return when the youngest batch of a snapshot was published, in seconds since 1970."""
    statement = "select extract(epoch from max(published_at)) from landing.batches where batch_id = any(%s)"
    with db.transaction("reader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(statement, (facts.batches,))
        (moment,) = cur.fetchone() or (None,)
    return None if moment is None else float(moment)
