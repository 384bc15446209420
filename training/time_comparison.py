"""Two recipes compared by time: a part of the evidence of a decision, never its reason.

Challenger's and production's recipe are fitted again on the train rows before a cut, and compared
on the validation rows after it. The promotion gate compares the models themselves on all validation
rows, whose stays hardly ever come after the training rows (docs/adr/0134-time-and-the-gate.md).
"""

from typing import TypedDict

import numpy as np

from training import candidates, evaluation, features, model_metrics, rolling_origin
from training.model_metrics import Bootstrap, Floats, Ranking
from training.snapshots import Snapshot

CUT = 0.8  # share of the train rows before the cut
FEWEST_CASES = 20  # readmissions and other stays that an interval of the AUROC needs


class TimeComparison(TypedDict, total=False):
    """AUROC of both recipes on later stays; or in `reason` why there is nothing to compare."""

    recipes: list[str]  # challenger's, production's
    n_train: int
    n_validation: int
    challenger_score: float
    production_score: float
    gain: float
    gain_low: float
    gain_high: float
    reason: str


def compare(
    frozen: Snapshot, challenger: str, production: str, threads: int, bootstrap: Bootstrap
) -> TimeComparison:
    """Fit two recipes on the earlier train rows and compare them on later validation rows.

    Args:
        frozen: train and validation rows.
        challenger: the name of a candidate.
        production: likewise; a model that was adopted may have none that is known here.
        threads: of each fit.
        bootstrap: resamples and seed, which is that of the fits too.
    """
    recipes = [challenger, production]
    if challenger == production:
        return {"recipes": recipes, "reason": "the same recipe: nothing to compare"}
    if not set(recipes) <= candidates.CANDIDATES.keys():
        return {"recipes": recipes, "reason": "a recipe is not known here"}
    contract = frozen.contract
    train = rolling_origin.in_order(frozen.split("train"))
    validation = frozen.split("validation")
    cut = train[rolling_origin.CLOCK].iloc[int(len(train) * CUT)]
    earlier = train[train[rolling_origin.CLOCK] < cut]
    later = validation[validation[rolling_origin.CLOCK] >= cut]
    y = features.labels(contract, later).astype(np.float64)
    if min(y.sum(), len(y) - y.sum()) < FEWEST_CASES:
        return {"recipes": recipes, "reason": "too few readmissions after the cut"}
    rankings = []
    for recipe in recipes:
        pipeline = candidates.CANDIDATES[recipe](contract, bootstrap.seed, threads)
        pipeline.fit(earlier[features.columns(contract)], features.labels(contract, earlier))
        rankings.append(Ranking(y, evaluation.predict(pipeline, contract, later)))
    first, second = rankings

    def gain_of(weights: Floats) -> float:
        return first.auroc(weights) - second.auroc(weights)

    gain = model_metrics.estimate(gain_of, model_metrics.resampled(later["patient_nbr"], bootstrap))
    unweighted = np.ones(len(y))
    return {
        "recipes": recipes,
        "n_train": len(earlier),
        "n_validation": len(later),
        "challenger_score": first.auroc(unweighted),
        "production_score": second.auroc(unweighted),
        "gain": gain["figure"],
        "gain_low": gain["low"],
        "gain_high": gain["high"],
    }
