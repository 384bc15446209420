"""How good the predictions turned out to be: logged requests whose outcome a later batch has brought."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from readmit import db
from readmit.contract.definition import Contract
from training import model_metrics
from training.snapshots import MART
from training.training_settings import MIN_CASES, MIN_ROWS, MonitorSettings

# A stay that was asked about several times counts once, with the last answer.
LABELLED = """
select distinct on (asked.encounter_id)
    asked.probability, mart.{label}::int as outcome, mart.patient_nbr, mart._batch_id
from ops.predictions as asked
inner join {mart} as mart on asked.encounter_id = mart.encounter_id
where asked.model_name = %s and asked.model_version = %s
order by asked.encounter_id, asked.predicted_at desc
"""


@dataclass(frozen=True)
class Realised:
    """What is known of one version: `metrics` is None while there are too few outcomes.

    `n_known_before` are outcomes that the model may have learned from: they say nothing about it and are left out.
    """

    version: str
    n_labels: int
    n_readmitted: int
    n_known_before: int
    metrics: dict[str, model_metrics.Figure] | None
    calibration: list[model_metrics.Bin]


def read(version: str, contract: Contract, settings: MonitorSettings) -> pd.DataFrame:
    """Return the requests of a version with known outcome: probability, outcome, patient_nbr, _batch_id."""
    query = LABELLED.format(label=contract.label.name, mart=MART)
    with (
        db.transaction("reader", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(query, (settings.model_name, version))
        names = [column.name for column in cur.description or ()]
        return pd.DataFrame(cur.fetchall(), columns=names)


def judge(
    version: str, labelled: pd.DataFrame, learned_from: list[str], settings: MonitorSettings
) -> Realised:
    """Return how good a version turned out to be.

    Args:
        version: of the model.
        labelled: its requests with known outcome, as `read` gives them.
        learned_from: batches of the version's snapshot; their outcomes are left out.
        settings: how many outcomes are enough, and how intervals are made.
    """
    later = labelled[~labelled["_batch_id"].isin(learned_from)]
    y, p = (
        later["outcome"].to_numpy(dtype=np.float64),
        later["probability"].to_numpy(dtype=np.float64),
    )
    positive = int(y.sum())
    enough = min(positive, len(y) - positive) >= MIN_CASES and len(y) >= MIN_ROWS
    return Realised(
        version=version,
        n_labels=len(later),
        n_readmitted=positive,
        n_known_before=len(labelled) - len(later),
        metrics=_metrics(y, p, later["patient_nbr"], settings) if enough else None,
        calibration=model_metrics.calibration(y, p) if enough else [],
    )


def _metrics(
    y: model_metrics.Floats, p: model_metrics.Floats, patients: ArrayLike, settings: MonitorSettings
) -> dict[str, model_metrics.Figure]:
    bootstrap = model_metrics.Bootstrap(settings.bootstrap_replicates, settings.training_seed)
    found = model_metrics.with_intervals(y, p, patients, bootstrap)
    samples = model_metrics.resampled(patients, bootstrap)
    for name, values in (
        ("observed_rate", y),
        ("predicted_rate", p),
        ("observed_minus_predicted", y - p),
    ):
        low, high = model_metrics.interval(partial(_mean, values), samples)
        found[name] = {"figure": float(np.mean(values)), "low": low, "high": high}
    return found


def _mean(values: model_metrics.Floats, weights: model_metrics.Floats) -> float:
    return float(np.average(values, weights=weights))
