"""The DAGs: shared defaults, the vital order, thin files."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowSkipException

import transformations
from readmit.batches import builds, claims
from readmit.errors import BatchRejected
from readmit.settings import PipelineSettings
from shared import DEFAULT_ARGS, news_for_training
from stack import pipeline

DAGS = Path(__file__).resolve().parents[3] / "dags"


@pytest.fixture(scope="module")
def bag(dbt_manifest) -> DagBag:
    """All DAG files, parsed as Airflow's processor does."""
    return DagBag(str(DAGS))


def upstream(dag, task_id):
    """Every task that must be finished before `task_id`."""
    found, waiting = set(), [task_id]
    while waiting:
        for name in dag.get_task(waiting.pop()).upstream_task_ids - found:
            found.add(name)
            waiting.append(name)
    return found


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
        ("register_source", "claim"),
        ("claim", "load"),
        ("load", "raw_gate"),
        ("raw_gate", "publish_gate"),
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
            assert all("raw_gate" in upstream(dag, name) for name in tasks)


def test_a_run_that_fails_gives_its_batch_back_and_stays_red(bag):
    dag = bag.dags["ingest_batch"]
    last = dag.get_task("give_back")
    assert last.is_teardown
    assert not last.on_failure_fail_dagrun
    assert dag.get_task("claim").is_setup
    # It waits for all of dbt: a claim that is given back while dbt still writes would let another build in.
    assert {"publish", "dbt.dbt_producer_watcher"} <= upstream(dag, "give_back")


def test_training_is_announced_after_every_run_and_never_hides_a_rejected_batch(bag):
    dag = bag.dags["ingest_batch"]
    announce = dag.get_task("announce_training")
    assert announce.upstream_task_ids == {"give_back"}
    assert announce.trigger_rule == "all_done"
    # Airflow takes a run's colour from its leaves, looking through teardowns: `publish` must be one of them.
    assert dag.get_task("publish").downstream_task_ids == {"give_back"}


class Announced(list):
    """Events of an Asset, newest last, as Airflow hands them out."""

    def ascending(self, up):
        return Announced(self if up else self[::-1])

    def limit(self, n):
        return Announced(self[:n])


@pytest.mark.parametrize(
    ("told", "published", "waiting", "news"),
    [
        ([], 3, 0, True),
        ([3, 5], 7, 0, True),
        ([3, 5], 5, 0, False),  # a bad batch was all that came
        ([3, 5], 7, 1, False),
        ([], 0, 0, False),
        ([None], 1, 0, True),  # announced before events carried a number
    ],
)
def test_training_is_told_once_of_what_is_new(monkeypatch, told, published, waiting, news):
    monkeypatch.setattr(claims, "waiting", lambda _: waiting)
    monkeypatch.setattr(builds, "published", lambda _: published)
    events = Announced(SimpleNamespace(extra={"published": n} if n else {}) for n in told)
    if news:
        assert news_for_training(events, PipelineSettings()) == published
    else:
        with pytest.raises(AirflowSkipException):
            news_for_training(events, PipelineSettings())


def test_a_build_without_tests_is_tested_before_the_gate(monkeypatch, dbt_manifest):
    called = []

    def dbt(command, env, **_):
        called.append(command[1])
        results = [{"unique_id": "test.readmit.t", "status": found, "message": "m"}]
        (Path(env["DBT_TARGET_PATH"]) / "run_results.json").write_text(
            json.dumps({"results": results})
        )
        return SimpleNamespace(returncode=int(found != "pass"))

    monkeypatch.setattr(transformations.subprocess, "run", dbt)
    tested, killed = (
        SimpleNamespace(xcom_pull=lambda known=known, **_: known) for known in (True, None)
    )
    transformations.ensure_tested("b", tested)
    assert called == []
    found = "pass"
    transformations.ensure_tested("b", killed)
    assert called == ["test"]
    found = "fail"
    with pytest.raises(BatchRejected, match="t "):
        transformations.ensure_tested("b", killed)
    found = "error"
    with pytest.raises(RuntimeError, match="ended with 1"):
        transformations.ensure_tested("b", killed)


def test_training_waits_for_data_when_it_is_switched_on(bag):
    # Last Sunday's run would train on nothing while the first batches arrive.
    assert bag.dags["train_model"].start_date is None


def test_a_release_passes_the_same_models_and_the_gate(bag):
    dag = bag.dags["release_quarantine"]
    assert {"begin", "publish_gate", "dbt.int_encounters__features_run"} <= upstream(dag, "publish")
    assert dag.get_task("end").is_teardown


def test_a_refused_source_holds_no_batch_up(bag):
    dag = bag.dags["ingest_batch"]
    assert dag.get_task("claim").trigger_rule == "all_done"
    assert dag.get_task("source_is_known").upstream_task_ids == {"register_source"}


def test_dbt_runs_its_tests_in_the_one_build(bag):
    producer = bag.dags["ingest_batch"].get_task("dbt.dbt_producer_watcher")
    flags = producer.dbt_cmd_flags
    assert {"model", "seed", "test"} == {
        flags[i + 1] for i, flag in enumerate(flags) if flag == "--resource-type"
    } - {"snapshot"}
    assert producer.callback.__name__ == "reject_failed_tests"


def test_files_are_thin():
    for path in DAGS.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 120, path.name
