"""The deep search: every trial is a nested run, and an interrupted search resumes."""

import mlflow
import optuna
import pytest
from optuna.trial import TrialState

from tests.support import services
from tests.support.training import make_rows
from training import hyperparameter_search, mlflow_tracking
from training.training_settings import TrainingSettings


@pytest.fixture
def settings(mlflow_server, monkeypatch):
    for name, value in services.environment(mlflow_server).items():
        if name.isupper():
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("READMIT_TRAINING_THREADS", "1")
    return TrainingSettings()


def test_a_killed_search_goes_on_and_reads_train_rows_only(contract, settings, tmp_path):
    rows = make_rows(contract)
    train = rows[rows["split"] == "train"]
    searched = hyperparameter_search.Search(contract, train, ["logistic"], settings)
    lines = []
    with mlflow_tracking.reaching(settings) as client:
        mlflow.set_experiment(hyperparameter_search.EXPERIMENT)
        hyperparameter_search.run(
            searched, hyperparameter_search.open_study(tmp_path, "s", 1), 2, 5, lines.append
        )
        half_done = hyperparameter_search.open_study(tmp_path, "s", 1)
        half_done.ask()  # as a killed process leaves it
        again = hyperparameter_search.open_study(tmp_path, "s", 1)
        hyperparameter_search.run(searched, again, 4, 5, lines.append)
        hyperparameter_search.run(searched, again, 4, 5, lines.append)  # nothing is left to do
        runs = client.search_runs(
            [mlflow.get_experiment_by_name(hyperparameter_search.EXPERIMENT).experiment_id],
            f"tags.mlflow.parentRunId = '{again.user_attrs['run_id']}'",
        )
    states = [trial.state for trial in again.trials]
    assert states.count(TrialState.COMPLETE) == len(runs) == 4
    assert states.count(TrialState.FAIL) == 1
    trials = [text.split(":")[0] for text in lines]
    assert trials == ["trial 1 of 2", "trial 2 of 2", "trial 3 of 4", "trial 4 of 4"]
    results = hyperparameter_search.results(again)
    scores = [result["auroc"] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert results[0]["auroc"] > 0.6
    metrics = runs[0].data.metrics
    assert {"mean_auroc", "mean_average_precision", "seconds"} <= metrics.keys()
    patients = [set(train.iloc[held]["patient_nbr"]) for _, held in searched._folds]
    assert sum(map(len, patients)) == train["patient_nbr"].nunique()  # no patient in two folds


@pytest.mark.parametrize("family", sorted(hyperparameter_search.SPACES))
def test_every_space_fits_its_family(family, contract, settings):
    trial = optuna.create_study().ask()
    chosen = hyperparameter_search.SPACES[family](trial)
    pipeline = hyperparameter_search.candidates.CANDIDATES[family](contract, 1, 1)
    pipeline[-1].set_params(**chosen)
    assert chosen.items() <= pipeline[-1].get_params().items()
