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
