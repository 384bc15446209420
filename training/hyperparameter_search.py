"""The deep search over model families and their settings: `make search`, resumable.

Optuna (tree-structured Parzen estimator) proposes a family and its settings; patient-disjoint folds inside the train
split score them, so validation and the sealed test are never looked at. Trials that fall behind the median after a fold
are pruned. Every trial is a nested MLflow run. The study is a journal file in the state folder, named after data and
contract: a search that was killed goes on where it was.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import optuna
import pandas as pd
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from rich.console import Console
from sklearn.model_selection import StratifiedGroupKFold

from readmit.command import explained
from readmit.contract.definition import Contract
from readmit.settings import ROOT
from training import candidates, evaluation, features, mlflow_tracking, model_metrics, snapshots
from training.training_settings import TrainingSettings

EXPERIMENT = "readmission-search"
FOLDS = 5
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
METRICS = ("auroc", "average_precision")
Settings = dict[str, Any]


def _logistic(trial: Trial) -> Settings:
    return {"C": trial.suggest_float("logistic_C", 1e-3, 10, log=True)}


def _random_forest(trial: Trial) -> Settings:
    return {
        "n_estimators": trial.suggest_int("forest_trees", 100, 400, step=100),
        "min_samples_leaf": trial.suggest_int("forest_leaf", 5, 60, log=True),
        "max_features": trial.suggest_float("forest_columns", 0.05, 0.4, log=True),
        "max_depth": trial.suggest_int("forest_depth", 8, 20),
    }


def _hist_boosting(trial: Trial) -> Settings:
    return {
        "max_iter": trial.suggest_int("hgb_trees", 100, 800, step=100),
        "learning_rate": trial.suggest_float("hgb_rate", 0.01, 0.1, log=True),
        "max_leaf_nodes": trial.suggest_int("hgb_leaves", 7, 63, log=True),
        "min_samples_leaf": trial.suggest_int("hgb_leaf", 20, 200, log=True),
        "l2_regularization": trial.suggest_float("hgb_l2", 0.1, 30, log=True),
        "max_features": trial.suggest_float("hgb_columns", 0.1, 0.8, log=True),
    }


def _lightgbm(trial: Trial) -> Settings:
    return {
        "n_estimators": trial.suggest_int("lightgbm_trees", 200, 1600, step=200),
        "learning_rate": trial.suggest_float("lightgbm_rate", 0.005, 0.06, log=True),
        "num_leaves": trial.suggest_int("lightgbm_leaves", 7, 63, log=True),
        "min_child_samples": trial.suggest_int("lightgbm_leaf", 20, 200, log=True),
        "colsample_bytree": trial.suggest_float("lightgbm_columns", 0.1, 0.8, log=True),
        "reg_lambda": trial.suggest_float("lightgbm_l2", 0.1, 50, log=True),
    }


def _catboost(trial: Trial) -> Settings:
    return {
        "iterations": trial.suggest_int("catboost_trees", 400, 1600, step=200),
        "learning_rate": trial.suggest_float("catboost_rate", 0.01, 0.06, log=True),
        "depth": trial.suggest_int("catboost_depth", 4, 8),
        "l2_leaf_reg": trial.suggest_float("catboost_l2", 1, 40, log=True),
        "rsm": trial.suggest_float("catboost_columns", 0.08, 0.5, log=True),
    }


SPACES: Mapping[str, Callable[[Trial], Settings]] = {
    "logistic": _logistic,
    "random_forest": _random_forest,
    "hist_boosting": _hist_boosting,
    "lightgbm": _lightgbm,
    "catboost": _catboost,
}


class Search:
    """One study on the train rows of one mart."""

    def __init__(
        self,
        contract: Contract,
        train: pd.DataFrame,
        families: Sequence[str],
        settings: TrainingSettings,
    ) -> None:
        self._contract, self._train, self._families, self._settings = (
            contract,
            train,
            list(families),
            settings,
        )
        self._y = features.labels(contract, train)
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=settings.training_seed)
        self._folds = list(folds.split(train, self._y, train["patient_nbr"].to_numpy()))

    def __call__(self, trial: Trial) -> float:
        """Return the mean AUROC of the folds; the run of the trial has both metrics of each fold, and its seconds."""
        family = trial.suggest_categorical("family", self._families)
        chosen = SPACES[family](trial)
        with mlflow.start_run(run_name=f"{trial.number} {family}", nested=True):
            mlflow.set_tags({"candidate": family, "trial": str(trial.number)})
            mlflow.log_params(chosen)
            scored: list[dict[str, float]] = []
            for number, (fitted, held) in enumerate(self._folds):
                began = time.monotonic()
                scored.append(self._score(family, chosen, fitted, held))
                mlflow.log_metrics({name: scored[-1][name] for name in METRICS}, step=number)
                mlflow.log_metric("seconds", time.monotonic() - began, step=number)
                trial.report(float(np.mean([each["auroc"] for each in scored])), number)
                if number + 1 < FOLDS and trial.should_prune():
                    mlflow.set_tag("pruned", "true")
                    raise optuna.TrialPruned
            mean = {name: float(np.mean([each[name] for each in scored])) for name in METRICS}
            mlflow.log_metrics({f"mean_{name}": value for name, value in mean.items()})
            trial.set_user_attr("settings", chosen)
            trial.set_user_attr("average_precision", mean["average_precision"])
            return mean["auroc"]

    def _score(
        self, family: str, chosen: Settings, fitted: np.ndarray, held: np.ndarray
    ) -> dict[str, float]:
        make, settings = candidates.CANDIDATES[family], self._settings
        pipeline = make(self._contract, settings.training_seed, settings.training_threads)
        pipeline[-1].set_params(**chosen)
        rows = self._train.iloc[fitted]
        pipeline.fit(rows[features.columns(self._contract)], self._y[fitted])
        p = evaluation.predict(pipeline, self._contract, self._train.iloc[held])
        return model_metrics.point_figures(self._y[held], p)


def study(folder: Path, name: str, seed: int) -> optuna.Study:
    """Open or make the study of a name; trials that a killed search left half done count as failed."""
    folder.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(folder / f"{name}.journal")))
    sampler = optuna.samplers.TPESampler(seed=seed)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=8)
    found = optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize",
        sampler=sampler,
        pruner=pruner,
        load_if_exists=True,
    )
    for trial in found.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        found.tell(trial.number, state=TrialState.FAIL)
    return found


def run(
    search: Search, found: optuna.Study, trials: int, minutes: float, show: Callable[[str], None]
) -> None:
    """Make trials until there are so many, or the time is over. The parent run goes on where it was."""
    left = trials - len(found.get_trials(deepcopy=False, states=FINISHED))
    run_id = found.user_attrs.get("run_id")
    with mlflow.start_run(run_id=run_id, run_name=None if run_id else found.study_name) as parent:
        found.set_user_attr("run_id", parent.info.run_id)
        if left > 0:
            told = _progress(trials, show)
            found.optimize(
                search, n_trials=left, timeout=minutes * 60, callbacks=[told], catch=(ValueError,)
            )
        mlflow.log_dict({"trials": results(found)}, "search.json")


def _progress(
    trials: int, show: Callable[[str], None]
) -> Callable[[optuna.Study, FrozenTrial], None]:
    def told(found: optuna.Study, trial: FrozenTrial) -> None:
        done = len(found.get_trials(deepcopy=False, states=FINISHED))
        scored = (
            f"AUROC {trial.value:.4f}"
            if trial.state == TrialState.COMPLETE
            else trial.state.name.lower()
        )
        best = max(results(found), key=lambda each: each["auroc"], default=None)
        so_far = (
            f"best {best['auroc']:.4f} by {best['family']}, trial {best['trial']}"
            if best
            else "none finished yet"
        )
        show(f"trial {done} of {trials}: {trial.params.get('family')} {scored}; {so_far}")

    return told


def results(found: optuna.Study) -> list[dict[str, Any]]:
    """Return the finished trials, best first."""
    done = found.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [
        {
            "trial": trial.number,
            "family": trial.params["family"],
            "auroc": trial.value,
            "average_precision": trial.user_attrs["average_precision"],
            "settings": trial.user_attrs["settings"],
        }
        for trial in sorted(done, key=lambda trial: -(trial.value or 0.0))
    ]


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of `make search`."""
    parser = argparse.ArgumentParser(prog="make search", description=__doc__)
    parser.add_argument("--trials", type=int, default=60, help="trials of the study in all (60)")
    parser.add_argument(
        "--minutes", type=float, default=240, help="no new trial after so many minutes (240)"
    )
    parser.add_argument(
        "--family", action="append", choices=sorted(SPACES), help="only this one; may be repeated"
    )
    given = parser.parse_args(arguments)
    settings, console, began = TrainingSettings(), Console(), time.monotonic()
    contract = Contract.from_manifest(snapshots.manifest())
    rows, fingerprint = snapshots.read_mart(contract, settings)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    families = given.family or sorted(SPACES)
    name = f"{fingerprint[:12]}-{contract.hash[:12]}-{'+'.join(families)}"
    found = study(settings.readmit_home / "search", name, settings.training_seed)
    search = Search(contract, rows[rows["split"] == "train"], families, settings)
    with mlflow_tracking.reaching(settings):
        mlflow.set_experiment(EXPERIMENT)
        run(
            search,
            found,
            given.trials,
            given.minutes,
            lambda text: console.print(f"{time.monotonic() - began:6.0f} s  {text}"),
        )
    target = ROOT / "build" / "search.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results(found), indent=1))
    console.print(f"written: {target.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
