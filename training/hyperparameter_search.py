"""Search over model families and their settings: `make search`, resumable.

Optuna (tree-structured Parzen estimator) proposes a family and its settings. Patient-disjoint folds
inside the train split score them, so validation and sealed test rows are never read. A trial that
falls behind the median after a fold is pruned. Every trial is a nested MLflow run. The study is a
journal file in the state folder, named after data and contract: a search that was killed continues
where it stopped.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

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
from readmit.inherited_environment import forget_the_shell
from readmit.settings import ROOT
from training import candidates, evaluation, features, mlflow_tracking, model_metrics, snapshots
from training.training_settings import TrainingSettings

EXPERIMENT = "readmission-search"
NOTE = "Trials of `make search`: a run per search, and within it a run per trial."
FOLDS = 5
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
METRICS = ("auroc", "average_precision")
Parameters = dict[str, int | float]


def _logistic(trial: Trial) -> Parameters:
    return {"C": trial.suggest_float("logistic_C", 1e-3, 10, log=True)}


def _random_forest(trial: Trial) -> Parameters:
    return {
        "n_estimators": trial.suggest_int("forest_trees", 100, 400, step=100),
        "min_samples_leaf": trial.suggest_int("forest_leaf", 5, 60, log=True),
        "max_features": trial.suggest_float("forest_columns", 0.05, 0.4, log=True),
        "max_depth": trial.suggest_int("forest_depth", 8, 20),
    }


def _hist_boosting(trial: Trial) -> Parameters:
    return {
        "max_iter": trial.suggest_int("hgb_trees", 100, 800, step=100),
        "learning_rate": trial.suggest_float("hgb_rate", 0.01, 0.1, log=True),
        "max_leaf_nodes": trial.suggest_int("hgb_leaves", 7, 63, log=True),
        "min_samples_leaf": trial.suggest_int("hgb_leaf", 20, 200, log=True),
        "l2_regularization": trial.suggest_float("hgb_l2", 0.1, 30, log=True),
        "max_features": trial.suggest_float("hgb_columns", 0.1, 0.8, log=True),
    }


def _lightgbm(trial: Trial) -> Parameters:
    return {
        "n_estimators": trial.suggest_int("lightgbm_trees", 200, 1600, step=200),
        "learning_rate": trial.suggest_float("lightgbm_rate", 0.005, 0.06, log=True),
        "num_leaves": trial.suggest_int("lightgbm_leaves", 7, 63, log=True),
        "min_child_samples": trial.suggest_int("lightgbm_leaf", 20, 200, log=True),
        "colsample_bytree": trial.suggest_float("lightgbm_columns", 0.1, 0.8, log=True),
        "reg_lambda": trial.suggest_float("lightgbm_l2", 0.1, 50, log=True),
    }


def _catboost(trial: Trial) -> Parameters:
    return {
        "iterations": trial.suggest_int("catboost_trees", 400, 1600, step=200),
        "learning_rate": trial.suggest_float("catboost_rate", 0.01, 0.06, log=True),
        "depth": trial.suggest_int("catboost_depth", 4, 8),
        "l2_leaf_reg": trial.suggest_float("catboost_l2", 1, 40, log=True),
        "rsm": trial.suggest_float("catboost_columns", 0.08, 0.5, log=True),
    }


SPACES: Mapping[str, Callable[[Trial], Parameters]] = {
    "logistic": _logistic,
    "random_forest": _random_forest,
    "hist_boosting": _hist_boosting,
    "lightgbm": _lightgbm,
    "catboost": _catboost,
}


class Result(TypedDict):
    """A finished trial."""

    trial: int
    family: str
    auroc: float
    average_precision: float
    settings: Parameters


class Search:
    """The objective of a study: cross-validated AUROC on the train rows of one mart."""

    def __init__(
        self,
        contract: Contract,
        train: pd.DataFrame,
        families: Sequence[str],
        settings: TrainingSettings,
    ) -> None:
        self._contract = contract
        self._train = train
        self._families = list(families)
        self._settings = settings
        self._y = features.labels(contract, train)
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=settings.training_seed)
        self._folds = list(folds.split(train, self._y, train["patient_nbr"].to_numpy()))

    def __call__(self, trial: Trial) -> float:
        """Return the mean AUROC of the folds.

        The MLflow run of the trial has the metrics of each fold, and the seconds that it took.

        Raises:
            optuna.TrialPruned: the trial fell behind.
        """
        family = trial.suggest_categorical("family", self._families)
        parameters = SPACES[family](trial)
        with mlflow.start_run(run_name=f"{trial.number} {family}", nested=True):
            mlflow.set_tags({"candidate": family, "trial": str(trial.number)})
            mlflow.log_params(parameters)
            folds: list[dict[str, float]] = []
            for number, (train, test) in enumerate(self._folds):
                began = time.monotonic()
                metrics = self._score(family, parameters, train, test)
                folds.append(metrics)
                mlflow.log_metrics(metrics, step=number)
                mlflow.log_metric("seconds", time.monotonic() - began, step=number)
                trial.report(_mean(folds, "auroc"), number)
                if number + 1 < FOLDS and trial.should_prune():
                    mlflow.set_tag("pruned", "true")
                    raise optuna.TrialPruned
            for name in METRICS:
                mlflow.log_metric(f"mean_{name}", _mean(folds, name))
            trial.set_user_attr("settings", parameters)
            trial.set_user_attr("average_precision", _mean(folds, "average_precision"))
            return _mean(folds, "auroc")

    def _score(
        self, family: str, parameters: Parameters, train: np.ndarray, test: np.ndarray
    ) -> dict[str, float]:
        """Return `METRICS` of one fold."""
        make = candidates.CANDIDATES[family]
        pipeline = make(
            self._contract, self._settings.training_seed, self._settings.training_threads
        )
        pipeline[-1].set_params(**parameters)
        rows = self._train.iloc[train]
        pipeline.fit(rows[features.columns(self._contract)], self._y[train])
        p = evaluation.predict(pipeline, self._contract, self._train.iloc[test])
        metrics = model_metrics.point_metrics(self._y[test], p)
        return {name: metrics[name] for name in METRICS}


def _mean(folds: Sequence[Mapping[str, float]], metric: str) -> float:
    return float(np.mean([fold[metric] for fold in folds]))


def open_study(folder: Path, name: str, seed: int) -> optuna.Study:
    """Open or create a study; trials that a killed search left unfinished count as failed."""
    folder.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(folder / f"{name}.journal")))
    sampler = optuna.samplers.TPESampler(seed=seed)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=8)
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize",
        sampler=sampler,
        pruner=pruner,
        load_if_exists=True,
    )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def run(
    search: Search, study: optuna.Study, trials: int, minutes: float, show: Callable[[str], None]
) -> None:
    """Run trials until the study has `trials` of them, or the time is over.

    The parent run in MLflow is the one of the first call.
    """
    remaining = trials - _n_finished(study)

    def show_progress(study: optuna.Study, trial: FrozenTrial) -> None:
        show(progress(study, trial, trials))

    run_id = study.user_attrs.get("run_id")
    run_name = None if run_id else study.study_name
    with mlflow.start_run(run_id=run_id, run_name=run_name) as parent:
        study.set_user_attr("run_id", parent.info.run_id)
        if remaining > 0:
            study.optimize(
                search,
                n_trials=remaining,
                timeout=minutes * 60,
                callbacks=[show_progress],
                catch=(ValueError,),
            )
        mlflow.log_dict({"trials": results(study)}, "search.json")


def _n_finished(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def progress(study: optuna.Study, trial: FrozenTrial, trials: int) -> str:
    """Return one line about a trial that ended: its score, and the best one so far."""
    outcome = trial.state.name.lower()
    if trial.state == TrialState.COMPLETE:
        outcome = f"AUROC {trial.value:.4f}"
    best_so_far = "none finished yet"
    finished = results(study)
    if finished:
        best = finished[0]
        best_so_far = f"best {best['auroc']:.4f} by {best['family']}, trial {best['trial']}"
    family = trial.params.get("family")
    return f"trial {_n_finished(study)} of {trials}: {family} {outcome}; {best_so_far}"


def results(study: optuna.Study) -> list[Result]:
    """Return the finished trials, best first."""
    rows: list[Result] = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        rows.append(
            {
                "trial": trial.number,
                "family": trial.params["family"],
                "auroc": trial.value or 0.0,
                "average_precision": trial.user_attrs["average_precision"],
                "settings": trial.user_attrs["settings"],
            }
        )
    return sorted(rows, key=lambda row: -row["auroc"])


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
    options = parser.parse_args(arguments)
    settings = TrainingSettings()
    console = Console()
    began = time.monotonic()

    def show(text: str) -> None:
        console.print(f"{time.monotonic() - began:6.0f} s  {text}")

    contract = Contract.from_manifest(snapshots.manifest())
    rows, fingerprint = snapshots.read_mart(contract, settings)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    families = options.family or sorted(SPACES)
    name = f"{fingerprint[:12]}-{contract.hash[:12]}-{'+'.join(families)}"
    study = open_study(settings.readmit_home / "search", name, settings.training_seed)
    search = Search(contract, rows[rows["split"] == "train"], families, settings)
    with mlflow_tracking.reaching(settings):
        mlflow_tracking.open_experiment(EXPERIMENT, NOTE)
        run(search, study, options.trials, options.minutes, show)
    target = ROOT / "build" / "search.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results(study), indent=1))
    console.print(f"written: {target.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
