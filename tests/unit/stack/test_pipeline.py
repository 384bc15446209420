"""`make up` unpauses every DAG, after Airflow has read all of their files."""

import pytest

from stack import pipeline
from stack.airflow_api import AirflowFailed


class Reading:
    """A stub of Airflow that has read one more DAG file at each request."""

    def __init__(self, dag_ids, errors=()):
        self._unread = list(dag_ids)
        self._read = set()
        self._errors = list(errors)
        self.unpaused = []

    def dag_ids(self):
        if self._unread:
            self._read.add(self._unread.pop(0))
        return set(self._read)

    def import_errors(self):
        return self._errors

    def pause(self, dag_id, *, is_paused):
        assert not is_paused
        self.unpaused.append(dag_id)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(pipeline.time, "sleep", lambda _: None)


@pytest.mark.parametrize("order", [pipeline.DAGS, pipeline.DAGS[::-1]])
def test_every_dag_is_switched_on_whichever_file_is_read_last(order):
    airflow = Reading(order)
    pipeline.unpause(airflow, lambda _: None)
    assert sorted(airflow.unpaused) == sorted(pipeline.DAGS)


def test_a_file_that_cannot_be_read_is_named(monkeypatch):
    monkeypatch.setattr(pipeline, "SECONDS_FOR_REPAIRED_DAGS", -1)
    airflow = Reading(pipeline.DAGS[:-1], ["monitor_model.py: SyntaxError"])
    with pytest.raises(AirflowFailed, match=r"monitor_model\.py: SyntaxError"):
        pipeline.unpause(airflow, lambda _: None)
    assert airflow.unpaused == []


class Trains:
    """A stub of Airflow whose last batch was announced or not, and whose training has decided."""

    def __init__(self, announcement, decision="success"):
        self.states = {pipeline.ANNOUNCEMENT: announcement, pipeline.DECISION: decision}
        self.started = announcement == "success"
        self.n_waits = 0

    def active(self, dag_id):
        self.n_waits += 1
        if dag_id == pipeline.TRAIN and self.started and self.n_waits > 1:
            return [{"dag_run_id": "training"}]
        return []

    def runs(self, _):
        return [{"dag_run_id": "batch"}]

    def run(self, *_):
        return {"state": "running"}

    def task_state(self, _dag, _run, task_id):
        return self.states[task_id]

    def task_progress(self, *_):
        return "0/1 tasks"

    def trigger(self, _):
        pytest.fail("a model is in production: nothing to train for")


@pytest.fixture
def _model_in_production(monkeypatch):
    monkeypatch.setattr(pipeline, "in_production", lambda _: "3")


@pytest.mark.usefixtures("_model_in_production")
def test_nobody_waits_for_an_asset_that_cannot_come():
    """All that left the queue was rejected: the last run announced no training."""
    airflow = Trains("skipped")
    assert pipeline.train(airflow, None, lambda _: None, published=1) is None
    assert airflow.n_waits == 1


@pytest.mark.usefixtures("_model_in_production")
def test_training_is_waited_for_until_the_decision_only():
    """The sealed test and the learning curve of the run go on."""
    assert pipeline.train(Trains("success"), None, lambda _: None, published=1) == "training"
