"""The DAGs: shared defaults, the vital order, thin files."""

import itertools
import json
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSkipException,
    DownstreamTasksSkipped,
)
from cosmos.operators.watcher import DbtConsumerWatcherSensor

import dbt_verdict
import transformations
from announcement import news_for_training
from assets import TRAINING_READY
from k8s import task_pods
from readmit import libpq
from readmit.batches import batch_gauges, builds, claims, ledger, rebuilds, verdicts
from readmit.batches.builds import Build
from readmit.docs_site import publishing
from readmit.intake import inbox_results
from readmit.settings import PipelineSettings
from shared import DEFAULT_ARGS
from stack import pipeline

DAGS = Path(__file__).resolve().parents[3] / "dags"


@pytest.fixture(scope="module")
def bag(dbt_manifest) -> DagBag:
    """All DAG files, parsed as Airflow's processor does."""
    return DagBag(str(DAGS))


# The kind of pod of each task on Kubernetes; dbt's tasks are of the kind `dbt`.
KINDS = {
    "look_for_work": "batch",
    "register_source": "intake",
    "load": "intake",
    "write_results": "intake",
    "claim_build": "batch",
    "raw_gate": "batch",
    "publish_gate": "batch",
    "publish": "batch",
    "release_claim": "batch",
    "announce_training": "batch",
    "ask_for_training": "batch",
    "dbt_tests": "verdict",
    "source_freshness": "verdict",
    "publish_site": "docs",
    "expire_objects": "housekeep",
    "archive_predictions": "batch",
    "snapshot": "training",
    "candidates": "training",
    "fit": "training",
    "score_sealed": "training",
    "draw_learning_curve": "training",
    "register_best": "promotion",
    "decide": "promotion",
    "look": "monitor",
}


def upstream(dag, task_id):
    """Return every task that must be finished before `task_id`."""
    earlier = set()
    waiting = [task_id]
    while waiting:
        for name in dag.get_task(waiting.pop()).upstream_task_ids - earlier:
            earlier.add(name)
            waiting.append(name)
    return earlier


def test_all_files_parse(bag):
    assert bag.import_errors == {}
    assert set(bag.dag_ids) == set(pipeline.DAGS)  # what `make up` switches on


def test_one_active_run_and_shared_defaults(bag):
    for dag in bag.dags.values():
        assert dag.max_active_runs == 1, dag.dag_id
        assert not dag.catchup, dag.dag_id
        for key in set(DEFAULT_ARGS) - {"execution_timeout"}:
            assert dag.default_args[key] == DEFAULT_ARGS[key], (dag.dag_id, key)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("register_source", "look_for_work"),
        ("look_for_work", "claim_build"),
        ("claim_build", "load"),
        ("load", "raw_gate"),
        ("raw_gate", "dbt_tests"),
        ("dbt_tests", "publish_gate"),
        ("publish_gate", "publish"),
        ("publish", "announce_training"),
    ],
)
def test_vital_order_of_a_batch(bag, earlier, later):
    assert earlier in upstream(bag.dags["ingest_batch"], later)


def test_every_dbt_model_is_a_visible_task_between_the_gates(bag, dbt_manifest):
    dag = bag.dags["ingest_batch"]
    before = upstream(dag, "publish_gate")
    for node in dbt_manifest["nodes"].values():
        if node["resource_type"] == "model":
            tasks = [name for name in dag.task_ids if f"dbt.{node['name']}" in name]
            assert tasks, node["name"]
            assert set(tasks) <= before
            for name in tasks:
                assert "raw_gate" in upstream(dag, name)


def dbt_event(name: str, unique_id: str, status: str) -> str:
    node = {"unique_id": unique_id, "node_status": status, "resource_type": unique_id[:5]}
    return json.dumps({"info": {"name": name, "msg": name}, "data": {"node_info": node}})


def test_dbt_stores_what_the_tasks_of_models_read_and_nothing_else(bag):
    """Each stored value is a request to Airflow's API, for which dbt waits."""
    store = bag.dags["ingest_batch"].get_task(dbt_verdict.PRODUCER)._make_parse_callable()
    stored: dict[str, object] = {}
    task = SimpleNamespace(
        xcom_push=lambda key, value: stored.update({key: value}), xcom_pull=lambda key: None
    )
    for unique_id in ("model.readmit.dim_patients", "model.readmit.base_raw__batches"):
        store(dbt_event("NodeStart", unique_id, "started"), {"context": {"ti": task}})
        store(dbt_event("NodeFinished", unique_id, "success"), {"context": {"ti": task}})
    store(dbt_event("NodeFinished", "test.readmit.key", "pass"), {"context": {"ti": task}})
    store(dbt_event("MainReportVersion", "", ""), {"context": {"ti": task}})
    name = "model__readmit__dim_patients"
    assert set(stored) == {f"{name}_status", f"{name}_dbt_event", "dbt_startup_events"}
    assert stored[f"{name}_status"] == {"status": "success", "outlet_uris": []}


def test_the_tasks_of_models_leave_a_slot_for_dbt(bag):
    """They wait by themselves, which takes a slot, unless there are as few slots as tasks."""
    dag = bag.dags["ingest_batch"]
    waiting = [task for task in dag.tasks if isinstance(task, DbtConsumerWatcherSensor)]
    too_many = transformations.WAITING_TASKS + 1
    for group in itertools.combinations([task.task_id for task in waiting], too_many):
        earlier = set()
        for task_id in group:
            earlier |= upstream(dag, task_id)
        assert earlier & set(group), "none waits for another of them"
    assert {task.start_from_trigger for task in waiting} == {False}


@pytest.mark.parametrize(
    ("executor", "slots", "in_triggerer"),
    [("KubernetesExecutor", 16, True), ("LocalExecutor", 3, True), ("LocalExecutor", 4, False)],
)
def test_the_tasks_of_models_wait_in_the_triggerer_where_they_would_take_pods(
    monkeypatch, executor, slots, in_triggerer
):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", str(slots))
    assert transformations.tasks_wait_in_triggerer() == in_triggerer


def test_a_run_that_fails_releases_its_claim_and_stays_red(bag):
    dag = bag.dags["ingest_batch"]
    last = dag.get_task("release_claim")
    assert last.is_teardown
    assert not last.on_failure_fail_dagrun
    assert dag.get_task("claim_build").is_setup
    # It waits for all of dbt: a claim that is released while dbt still writes would let another
    # build in.
    assert {"publish", "dbt.dbt_producer_watcher"} <= upstream(dag, "release_claim")


def test_training_is_announced_after_every_run_and_never_hides_a_rejected_batch(bag):
    dag = bag.dags["ingest_batch"]
    announce = dag.get_task("announce_training")
    assert announce.upstream_task_ids == {"release_claim"}
    assert announce.trigger_rule == "all_done"
    # Airflow takes a run's colour from its leaves, looking through teardowns: `publish` must be one
    # of them.
    assert dag.get_task("publish").downstream_task_ids == {"release_claim"}


class Announced(list):
    """Events of an Asset, newest last, as Airflow passes them to a task."""

    def ascending(self, is_ascending):
        if is_ascending:
            return self
        return Announced(self[::-1])

    def limit(self, n):
        return Announced(self[:n])


@pytest.mark.parametrize(
    ("announced", "published", "waiting", "is_news"),
    [
        ([], 3, 0, True),
        ([{"published": 3}, {"published": 5}], 7, 0, True),
        ([{"published": 3}, {"published": 5}], 5, 0, False),  # a bad batch was all that came
        ([{"published": 3}, {"published": 5}], 7, 1, False),
        ([], 0, 0, False),
        ([{}], 1, 0, True),  # announced before events carried a number
    ],
)
def test_new_builds_are_announced_to_training_once(
    monkeypatch, announced, published, waiting, is_news
):
    monkeypatch.setattr(claims, "count_waiting", lambda _: waiting)
    monkeypatch.setattr(builds, "count_published", lambda _: published)
    events = Announced(SimpleNamespace(extra=extra) for extra in announced)
    if is_news:
        assert news_for_training(events, PipelineSettings()) == published
    else:
        with pytest.raises(AirflowSkipException):
            news_for_training(events, PipelineSettings())


def dbt_results(status):
    return {"results": [{"unique_id": "test.readmit.t", "status": status, "message": "m"}]}


BUILD = {"build_id": "b+r1", "batch_id": "b", "kind": "correction"}


class TaskOfRun(SimpleNamespace):
    """The task instance that Airflow gives to `dbt_tests`, with the parts that the task uses."""

    dag_id = "ingest_batch"
    run_id = "run"

    def get_task_states(self, **_):
        return {self.run_id: {dbt_verdict.PRODUCER: self.producer}}

    def xcom_pull(self, task_ids, key="return_value"):
        return {"claim_build": self.build, dbt_verdict.PRODUCER: self.results}[task_ids]


def task_of_run(build=MappingProxyType(BUILD), producer="success", results=None):
    return TaskOfRun(build=build, producer=producer, results=results)


@pytest.fixture
def rejected(monkeypatch):
    """Return the list of reasons that rejections are recorded with."""
    reasons = []
    monkeypatch.setattr(Build, "reject", lambda build, reason, _: reasons.append(reason))
    return reasons


verdict_of = dbt_verdict.dbt_tests.function


@pytest.mark.parametrize("status", ["pass", "fail", "error"])
def test_a_build_whose_tests_were_cut_short_is_tested_once_more(monkeypatch, rejected, status):
    called = []

    def dbt(command, env, **_):
        called.append(command[1])
        results = Path(env["DBT_TARGET_PATH"]) / "run_results.json"
        results.write_text(json.dumps(dbt_results(status)))

    monkeypatch.setattr(dbt_verdict.subprocess, "run", dbt)
    if status == "pass":
        verdict_of(task_of_run())
    else:
        failure = {"fail": AirflowFailException, "error": verdicts.TestsDidNotRun}[status]
        with pytest.raises(failure):
            verdict_of(task_of_run())
    assert called == ["test"]
    assert len(rejected) == (status == "fail")


@pytest.mark.parametrize("status", ["pass", "fail"])
def test_the_verdict_is_that_of_the_one_build(monkeypatch, rejected, tmp_path, status):
    monkeypatch.setattr(dbt_verdict.subprocess, "run", lambda *_, **__: pytest.fail("dbt again"))
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path))
    (tmp_path / "run_results.json").write_text(json.dumps(dbt_results(status)))
    pushed = {}
    context = {"ti": SimpleNamespace(xcom_push=pushed.__setitem__)}
    if status == "pass":
        dbt_verdict.share_test_results("", context)
        verdict_of(task_of_run(results=pushed[dbt_verdict.TEST_RESULTS]))
        assert rejected == []
        return
    with pytest.raises(AirflowFailException, match="tests failed, see dbt_tests: t "):
        dbt_verdict.share_test_results("", context)
    with pytest.raises(AirflowFailException, match="dbt tests failed: t "):
        verdict_of(task_of_run(results=pushed[dbt_verdict.TEST_RESULTS]))
    assert rejected == ["b+r1: dbt tests failed: t (m)"]


def test_no_verdict_where_dbt_did_not_run():
    for task in (task_of_run(build=None), task_of_run(producer="upstream_failed")):
        with pytest.raises(AirflowSkipException):
            verdict_of(task)


def test_training_waits_for_data_when_it_is_switched_on(bag):
    # Last Sunday's run would train on nothing while the first batches arrive.
    assert bag.dags["train_model"].start_date is None


@pytest.mark.parametrize(
    ("line", "times"), [("", "0 3 * * 0"), ("0 5 1 * *", "0 5 1 * *"), ("@daily", "0 0 * * *")]
)
def test_how_often_to_train_is_a_setting(line, times, monkeypatch):
    monkeypatch.setenv("READMIT_TRAINING_SCHEDULE", line)
    dag = DagBag(str(DAGS / "train_model.py")).dags["train_model"]
    assert dag.schedule.timetable.expression == times
    assert dag.schedule.asset_condition.objects == (TRAINING_READY,)


@pytest.mark.parametrize("dag_id", ["monitor_model", "housekeep"])
def test_what_runs_at_night_does_not_run_when_it_is_switched_on(bag, dag_id):
    """Beside the first batch it took a core for six seconds, and found nothing to do."""
    assert bag.dags[dag_id].start_date is None


def test_a_correction_skips_the_load_and_the_raw_gate_only(bag):
    dag = bag.dags["ingest_batch"]
    first = [name for name in dag.task_ids if "raw_gate" in dag.get_task(name).upstream_task_ids]
    assert "dbt.dbt_producer_watcher" in first
    for name in first:
        assert dag.get_task(name).trigger_rule == "none_failed_min_one_success", name
        # Where nothing is claimed nothing runs.
        assert "claimed" in dag.get_task(name).upstream_task_ids, name
    for name in ("load", "raw_gate"):
        assert dag.get_task(name).trigger_rule == "all_success"
    with pytest.raises(AirflowSkipException):
        dag.get_task("load").python_callable(BUILD)


def test_a_rejected_build_is_red_whatever_rejects_it(bag):
    """A skipped task skips what follows: each gate fails `publish`, which decides the run's
    colour.
    """
    dag = bag.dags["ingest_batch"]
    assert dag.get_task("publish").trigger_rule == "all_success"
    assert "publish_gate" in dag.get_task("publish").upstream_task_ids
    gate = dag.get_task("publish_gate")
    assert gate.trigger_rule == "all_success"
    assert {"dbt_tests", "dbt.dbt_producer_watcher_done"} <= gate.upstream_task_ids


def test_tasks_that_do_nothing_cost_no_process(bag):
    for task in bag.dags["ingest_batch"].tasks:
        if task.inherits_from_empty_operator:
            assert not task.on_success_callback, task.task_id


def test_a_run_with_nothing_to_do_ends_after_two_tasks(bag):
    dag = bag.dags["ingest_batch"]
    look = dag.get_task("look_for_work")
    assert look.upstream_task_ids == {"register_source"}
    assert look.ignore_downstream_trigger_rules  # also those that run whatever came before
    others = set(dag.task_ids) - {"register_source", "source_is_known", "look_for_work"}
    assert {task.task_id for task in look.get_flat_relatives(upstream=False)} == others


@pytest.fixture
def repaired(monkeypatch):
    """Nothing is left of a run that died."""
    for module, name in (
        (ledger, "repair"),
        (rebuilds, "plan"),
        (rebuilds, "switch"),
        (batch_gauges, "report_batches"),
    ):
        monkeypatch.setattr(module, name, lambda _: None)


@pytest.mark.parametrize("waiting", ["build", "result", "announcement", None])
def test_work_is_a_build_a_result_or_an_announcement(bag, repaired, monkeypatch, waiting):
    monkeypatch.setattr(inbox_results, "may_change", lambda _: True)
    monkeypatch.setattr(inbox_results, "is_any_open", lambda _: waiting == "result")
    monkeypatch.setattr(claims, "count_waiting", lambda _: int(waiting == "build"))
    monkeypatch.setattr(builds, "count_published", lambda _: 3 if waiting == "announcement" else 2)
    events = {TRAINING_READY: Announced([SimpleNamespace(extra={"published": 2})])}
    look_for_work = bag.dags["ingest_batch"].get_task("look_for_work").python_callable
    assert look_for_work(events) == (waiting is not None)


@pytest.mark.parametrize(
    ("n_waiting", "may_change", "skipped"),
    [
        (7, False, ["announce_training", "write_results"]),
        (2, True, ["announce_training"]),
        (1, False, ["write_results"]),
    ],
)
def test_tasks_that_would_have_nothing_to_do_are_skipped_without_a_process(
    bag, repaired, monkeypatch, n_waiting, may_change, skipped
):
    monkeypatch.setattr(claims, "count_waiting", lambda _: n_waiting)
    monkeypatch.setattr(inbox_results, "may_change", lambda _: may_change)
    dag = bag.dags["ingest_batch"]
    with pytest.raises(DownstreamTasksSkipped) as skip:
        dag.get_task("look_for_work").python_callable()
    assert skip.value.tasks == skipped
    assert set(skipped) <= dag.get_task("release_claim").downstream_task_ids  # ends of the run


def test_a_refused_source_holds_no_batch_up(bag):
    dag = bag.dags["ingest_batch"]
    assert dag.get_task("look_for_work").trigger_rule == "all_done"
    assert dag.get_task("source_is_known").upstream_task_ids == {"register_source"}


def test_dbt_runs_its_tests_in_the_one_build(bag):
    producer = bag.dags["ingest_batch"].get_task("dbt.dbt_producer_watcher")
    resource_types = set()
    for flag, value in itertools.pairwise(producer.dbt_cmd_flags):
        if flag == "--resource-type":
            resource_types.add(value)
    assert resource_types - {"snapshot"} == {"model", "seed", "test"}
    assert producer.callback.__name__ == "share_test_results"
    assert producer.env == libpq.environment()  # the time limits of dbt's connections
    assert producer.append_env  # beside this process' environment, which has the password


def test_files_are_thin():
    for path in DAGS.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 120, path.name


def test_each_task_runs_in_the_pod_of_its_kind(bag):
    """A task without a kind gets a pod without a role of the database: it would fail there."""
    kind_of = {}
    for dag in bag.dags.values():
        for task in dag.tasks:
            if task.task_type == "EmptyOperator":
                continue
            # None is KubernetesExecutor; in the scheduler's pod a task would lack its role, and
            # each kind has one, or keys of the store (docs/adr/0091-kubernetes-executor.md).
            assert task.executor is None
            pod = task_pods.KINDS[Path(task.executor_config["pod_template_file"]).stem]
            assert pod.roles or pod.identities
            path = Path(task.executor_config["pod_template_file"])
            assert path.parent == Path("/etc/airflow-tasks")
            if task.task_id.startswith("dbt."):
                kind_of["dbt"] = path.stem
            else:
                kind_of[task.task_id] = path.stem
    assert kind_of == {**KINDS, "dbt": "dbt"}
    assert set(kind_of.values()) == set(task_pods.KINDS)


def test_tasks_that_a_first_prediction_does_not_need_follow_the_decision(bag):
    dag = bag.dags["train_model"]
    for task_id in ("score_sealed", "draw_learning_curve"):
        assert "decide" in upstream(dag, task_id)
        assert not dag.get_task(task_id).downstream_task_ids


def test_every_dag_has_a_description_and_links_to_its_pages(bag):
    for dag in bag.dags.values():
        assert 20 < len(dag.description) < 80, dag.dag_id
        assert "http://" in dag.doc_md, dag.dag_id
        assert dag.owner_links[dag.owner].startswith("http://"), dag.dag_id
        for task in dag.tasks:
            for asset in task.outlets:
                assert asset.extra, asset.name
                for link in asset.extra.values():
                    assert link.startswith("http://")


@pytest.mark.parametrize(
    ("n_waiting", "is_recent", "writes"),
    [(0, True, True), (0, False, True), (3, False, True), (3, True, False)],
)
def test_the_docs_site_is_not_written_for_every_build_of_a_queue(
    bag, monkeypatch, n_waiting, is_recent, writes
):
    written = []
    monkeypatch.setattr(publishing, "count_waiting", lambda _: n_waiting)
    monkeypatch.setattr(publishing, "is_recent", lambda _: is_recent)
    monkeypatch.setattr(publishing, "publish", written.append)
    publish_site = bag.dags["publish_docs"].get_task("publish_site").python_callable
    if writes:
        publish_site()
        assert len(written) == 1
    else:
        with pytest.raises(AirflowSkipException, match="3 builds wait"):
            publish_site()
        assert written == []
