"""Models that a candidate has to beat: `make quality` measures them beside it."""

from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline

from readmit.contract.definition import Contract
from training import candidates
from training.rolling_origin import Make
from training.training_settings import TrainingSettings


def models(contract: Contract, settings: TrainingSettings) -> dict[str, Make]:
    """Return the baselines: prevalence, and logistic regression and boosting on raw columns."""
    seed = settings.training_seed
    raw = contract.with_features(contract.inputs)

    def prior() -> Pipeline:
        model = DummyClassifier(strategy="prior")
        return Pipeline([*candidates.encoding(contract, seed), ("model", model)])

    def logistic_raw() -> Pipeline:
        return candidates.logistic(raw, seed, settings.training_threads)

    def hist_gradient_boosting() -> Pipeline:
        model = HistGradientBoostingClassifier(random_state=seed)
        return Pipeline([*candidates.encoding(raw, seed), ("model", model)])

    return {
        "prior": prior,
        "logistic_raw": logistic_raw,
        "hist_gradient_boosting": hist_gradient_boosting,
    }
