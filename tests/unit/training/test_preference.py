"""Which of a run's candidates is registered."""

import pytest
from mlflow.entities import Metric, Run, RunData, RunInfo, RunTag

from training import jobs


def run(candidate: str, auroc: float) -> Run:
    """Return the run of a fitted candidate as MLflow returns it."""
    info = RunInfo(
        run_id=candidate,
        experiment_id="1",
        user_id="test",
        status="FINISHED",
        start_time=0,
        end_time=1,
        lifecycle_stage="active",
    )
    metric = Metric(jobs.RANKED_BY, auroc, timestamp=0, step=0)
    return Run(info, RunData(metrics=[metric], tags=[RunTag("candidate", candidate)]))


@pytest.mark.parametrize(
    ("auroc", "expected"),
    [
        ({"catboost": 0.7094, "forest": 0.7029, "lightgbm": 0.7100}, "catboost lightgbm forest"),
        ({"forest": 0.7029, "lightgbm": 0.7100, "catboost": 0.7094}, "lightgbm catboost forest"),
        ({"catboost": 0.7069, "lightgbm": 0.7100}, "lightgbm catboost"),
        ({"logistic": 0.68, "forest": 0.69, "lightgbm": 0.71}, "lightgbm forest logistic"),
        ({"catboost": 0.7}, "catboost"),
    ],
    ids=["alike", "in the order of the list", "worse by more", "best first", "one"],
)
def test_of_candidates_that_rank_alike_the_first_is_registered(auroc, expected):
    runs = [run(candidate, score) for candidate, score in auroc.items()]
    ordered = jobs.by_preference(runs, margin=0.003)
    assert " ".join(each.info.run_id for each in ordered) == expected


def test_without_a_margin_the_best_is_registered():
    runs = [run("catboost", 0.7094), run("lightgbm", 0.7100)]
    assert jobs.by_preference(runs, margin=0)[0].info.run_id == "lightgbm"
