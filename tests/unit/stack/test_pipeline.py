"""`make up` unpauses every DAG, after Airflow has read all of their files."""

import httpx
import pytest

from readmit.settings import StackSettings
from stack import airflow_api, pipeline
from stack.airflow_api import Airflow, AirflowFailed


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


def do_nothing(*_arguments):
    """Stand in for a function that pauses or prints."""


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(pipeline.time, "sleep", do_nothing)


@pytest.mark.parametrize("order", [pipeline.DAGS, pipeline.DAGS[::-1]])
def test_every_dag_is_switched_on_whichever_file_is_read_last(order):
    airflow = Reading(order)
    pipeline.unpause(airflow, do_nothing)
    assert sorted(airflow.unpaused) == sorted(pipeline.DAGS)


def test_a_file_that_cannot_be_read_is_named(monkeypatch):
    monkeypatch.setattr(pipeline, "SECONDS_FOR_REPAIRED_DAGS", -1)
    airflow = Reading(pipeline.DAGS[:-1], ["monitor_model.py: SyntaxError"])
    with pytest.raises(AirflowFailed, match=r"monitor_model\.py: SyntaxError"):
        pipeline.unpause(airflow, do_nothing)
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
            return [{"dag_run_id": "training", "state": "running"}]
        return []

    def runs(self, _):
        return [{"dag_run_id": "batch"}]

    def run(self, *_):
        return {"state": "running"}

    def task_state(self, _dag, _run, task_id):
        return self.states[task_id]

    def tasks(self, *_):
        return [{"task_id": name, "state": state} for name, state in self.states.items()]

    def trigger(self, _):
        pytest.fail("a model is in production: nothing to train for")


@pytest.fixture
def _model_in_production(monkeypatch):
    monkeypatch.setattr(pipeline, "in_production", lambda _: "3")


@pytest.mark.usefixtures("_model_in_production")
def test_nobody_waits_for_an_asset_that_cannot_come():
    """All that left the queue was rejected: the last run announced no training."""
    airflow = Trains("skipped")
    assert pipeline.train(airflow, None, do_nothing, published=1) is None
    assert airflow.n_waits == 1


@pytest.mark.usefixtures("_model_in_production")
def test_training_is_waited_for_until_the_decision_only():
    """The sealed test and the learning curve of the run go on."""
    assert pipeline.train(Trains("success"), None, do_nothing, published=1) == "training"


class Decides(Trains):
    """A stub of Airflow whose training is queued behind another one before it decides."""

    def __init__(self, decision):
        super().__init__("success")
        self.states[pipeline.DECISION] = None
        self.decision = decision
        self.n_requests = 0

    def active(self, _):
        return [{"dag_run_id": "first", "state": "running"}]

    def tasks(self, _dag, run_id):
        self.n_requests += 1
        tasks = [{"task_id": pipeline.DECISION, "state": None}]
        if self.n_requests == 2:
            tasks.append({"task_id": "snapshot", "state": "running"})
        if self.n_requests == 3:
            tasks[0]["state"] = self.decision
        return tasks

    def task_progress(self, _dag, run_id):
        return run_id

    def run(self, *_):
        return {"state": "failed"}

    def failed_task(self, *_):
        return "fit"


def test_a_training_is_followed_with_one_request_a_second():
    """Four a second took a tenth of a core from the fits."""
    airflow = Decides("success")
    shown = []
    pipeline._follow_to_decision(airflow, "ours", shown.append)
    assert airflow.n_requests == 3
    assert shown == ["another training is first, first", "0/2 tasks, snapshot"]


@pytest.mark.parametrize("decision", ["failed", "upstream_failed", "skipped", "removed"])
def test_a_training_that_cannot_decide_any_more_is_not_waited_for(decision):
    with pytest.raises(AirflowFailed, match="at the task fit"):
        pipeline._follow_to_decision(Decides(decision), "ours", do_nothing)


def test_a_training_that_was_ended_in_the_queue_is_not_waited_for(monkeypatch):
    airflow = Decides("success")
    monkeypatch.setattr(airflow, "active", lambda _: [])
    with pytest.raises(AirflowFailed, match="at the task fit"):
        pipeline._follow_to_decision(airflow, "ours", do_nothing)


def test_the_tasks_of_a_batch_are_listed_every_two_seconds_only(monkeypatch):
    """The list of 27 tasks was half of what the api-server had to answer."""
    now = [100.0]
    monkeypatch.setattr(airflow_api.time, "monotonic", lambda: now[0])
    airflow = Airflow(StackSettings(airflow_admin_password="x"))
    listed = []

    def tasks(_dag, run_id):
        listed.append(run_id)
        return [{"task_id": f"task {len(listed)}", "state": "running"}]

    monkeypatch.setattr(airflow, "tasks", tasks)
    assert airflow.task_progress("d", "r") == "0/1 tasks, task 1"
    now[0] += 1
    assert airflow.task_progress("d", "r") == "0/1 tasks, task 1"
    assert airflow.task_progress("d", "next") == "0/1 tasks, task 2"
    now[0] += 3
    assert airflow.task_progress("d", "next") == "0/1 tasks, task 3"
    assert listed == ["r", "next", "next"]


class Schedules:
    """A stub of Airflow in which a run of the schedule begins before the one that we started."""

    def __init__(self):
        self.states = {}
        self.polls = 0

    def trigger(self, _):
        self.states["manual"] = "queued"
        return "manual"

    def active(self, _):
        runs = []
        for run_id, state in self.states.items():
            if state in ("queued", "running"):
                runs.append({"dag_run_id": run_id, "state": state})
        return runs

    def run(self, _, run_id):
        self.polls += 1
        if self.polls == 2:
            self.states = {"scheduled": "running"} | self.states
        if self.polls == 5:
            self.states["scheduled"] = "success"
            self.states["manual"] = "running"
        if self.polls == 8:
            self.states["manual"] = "success"
        return {"state": self.states[run_id]}

    def task_progress(self, _, run_id):
        return run_id


def test_progress_follows_the_run_that_works_not_the_one_that_is_queued():
    airflow = Schedules()
    shown = []
    assert pipeline.follow_next(airflow, pipeline.INGEST, shown.append) == ("scheduled", "success")
    assert shown == ["manual", *["scheduled"] * 3]
    # The second call, after which the queue is counted anew, follows ours.
    assert pipeline.follow_next(airflow, pipeline.INGEST, shown.append) == ("manual", "success")
    assert set(shown[4:]) == {"manual"}


def answers(*steps):
    """Return a client whose server gives these answers: a status, or None for no answer."""
    left = list(steps)

    def answer(request):
        status = left.pop(0)
        if status is None:
            raise httpx.ConnectError("connection refused")
        return httpx.Response(status, json={"dags": [{"dag_id": "a"}], "access_token": "t"})

    return httpx.Client(transport=httpx.MockTransport(answer), base_url="http://airflow")


@pytest.mark.parametrize("away", [None, 503])
def test_a_cluster_has_minutes_to_bring_airflow_back(monkeypatch, away):
    monkeypatch.setattr(airflow_api.time, "sleep", do_nothing)
    patient = Airflow(StackSettings(airflow_admin_password="x", patience_seconds=300))
    patient._http = answers(*[away] * 299, 200)
    assert patient.dag_ids() == {"a"}
    hasty = Airflow(StackSettings(airflow_admin_password="x"))
    hasty._http = answers(*[away] * 299, 200)
    with pytest.raises(AirflowFailed):
        hasty.dag_ids()


def test_a_registry_that_is_away_does_not_count_as_one_without_a_model(monkeypatch):
    client = answers(None, 503, 404)
    monkeypatch.setattr(pipeline.httpx, "get", lambda url, timeout, **_: client.get("/"))
    settings = StackSettings(mlflow_tracking_password="x")
    assert pipeline.in_production(settings) is None
    version = {"model_version": {"version": "7"}}
    served = [
        httpx.Response(502, request=httpx.Request("GET", "http://m")),
        httpx.Response(200, json=version),
    ]
    monkeypatch.setattr(pipeline.httpx, "get", lambda *_, **__: served.pop(0))
    assert pipeline.in_production(settings) == "7"
