"""Realised performance: logged requests whose outcome a later batch has brought."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from readmit import db
from readmit.contract.definition import Contract
from training import model_metrics
from training.model_metrics import Estimate, Floats
from training.snapshots import MART
from training.training_settings import MIN_CASES, MIN_ROWS, MonitorSettings

# A stay with several requests counts once, with the first score: that is the one somebody could act
# on, and no later request, such as a what-if, can change it once the outcome is known.
LABELLED = """
select distinct on (requests.encounter_id)
    requests.probability, mart.{label}::int as outcome, mart.patient_nbr, mart._batch_id
from ops.clinical_predictions as requests
inner join {mart} as mart on requests.encounter_id = mart.encounter_id
where requests.model_name = %s and requests.model_version = %s
order by requests.encounter_id, requests.predicted_at, requests.request_id
"""


@dataclass(frozen=True)
class Realised:
    """The realised performance of one version; `metrics` is None while there are too few outcomes.

    `n_known_before` are outcomes that the model may have learned from, so they are left out.
    """

    version: str
    n_labels: int
    n_readmitted: int
    n_known_before: int
    metrics: dict[str, Estimate] | None
    calibration: list[model_metrics.Bin]


def read(version: str, contract: Contract, settings: MonitorSettings) -> pd.DataFrame:
    """Return the requests of a version whose outcome is known.

    Returns:
        A frame with the columns probability, outcome, patient_nbr and _batch_id.
    """
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
    """Return the realised performance of a version.

    Args:
        version: of the model.
        labelled: its requests with known outcome, from `read`.
        learned_from: batches of the version's snapshot; their outcomes are left out.
        settings: how intervals are computed.
    """
    later = labelled[~labelled["_batch_id"].isin(learned_from)]
    y = later["outcome"].to_numpy(dtype=np.float64)
    p = later["probability"].to_numpy(dtype=np.float64)
    n_readmitted = int(y.sum())
    rarer_outcome = min(n_readmitted, len(y) - n_readmitted)
    metrics = None
    calibration: list[model_metrics.Bin] = []
    if len(y) >= MIN_ROWS and rarer_outcome >= MIN_CASES:
        metrics = _metrics(y, p, later["patient_nbr"], settings)
        calibration = model_metrics.calibration(y, p)
    return Realised(
        version=version,
        n_labels=len(later),
        n_readmitted=n_readmitted,
        n_known_before=len(labelled) - len(later),
        metrics=metrics,
        calibration=calibration,
    )


def _metrics(
    y: Floats, p: Floats, patients: ArrayLike, settings: MonitorSettings
) -> dict[str, Estimate]:
    bootstrap = model_metrics.Bootstrap(settings.bootstrap_replicates, settings.training_seed)
    metrics = model_metrics.with_intervals(y, p, patients, bootstrap)
    samples = model_metrics.resampled(patients, bootstrap)
    means = {"observed_rate": y, "predicted_rate": p, "observed_minus_predicted": y - p}
    for name, values in means.items():
        low, high = model_metrics.interval(partial(_weighted_mean, values), samples)
        metrics[name] = {"figure": float(np.mean(values)), "low": low, "high": high}
    return metrics


def _weighted_mean(values: Floats, weights: Floats) -> float:
    return float(np.average(values, weights=weights))
