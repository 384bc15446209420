"""Task pods: Airflow's own code makes one from our template, and may do so with the scheduler's
rights.
"""

import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import kubernetes_validate
import pytest

from k8s import task_pods
from tests.support import k8s

# Airflow asks the Kubernetes API for these with KubernetesExecutor; a missing verb shows as a task
# that never starts.
NEEDED = {
    *(("pods", verb) for verb in ("create", "get", "list", "watch", "patch", "delete")),
    ("pods/log", "get"),
}
# A new pod of the api-server on two cores that fit models: two init containers, then 15 s of a
# core.
RESTART_SECONDS = 180
# Prints the pod that Airflow makes of a template; how it handles a pod that is removed while it
# waits, how long the scheduler lets a task wait, how long a task retries an api-server that is away,
# how long the scheduler takes it for alive meanwhile, and how often the scheduler retries a busy
# Kubernetes API; and that patience with hasty settings. Airflow reads these settings when it is
# imported, which takes seconds.
PROGRAM = """
import datetime, importlib, json, os, queue, sys, types
from airflow.configuration import conf
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.providers.cncf.kubernetes.executors.kubernetes_executor import KubernetesExecutor
from airflow.providers.cncf.kubernetes.executors.kubernetes_executor_utils import KubernetesJobWatcher
from airflow.providers.cncf.kubernetes.kube_config import KubeConfig
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.sdk.api import client
from airflow.sdk.execution_time import supervisor
from kubernetes.client import ApiClient, V1ObjectMeta, V1Pod, V1PodStatus
template, hasty = sys.argv[1:]
executor = "airflow.sdk.execution_time.execute_workload"
made = PodGenerator.construct_pod(
    dag_id="ingest_batch", task_id="dbt.fct_encounter_features", pod_id="ingest-batch-claim",
    try_number=1, date=None, pod_override_object=None, scheduler_job_id="1", run_id="manual__1",
    kube_image=KubeConfig().kube_image, namespace=KubeConfig().executor_namespace,
    args=["python", "-m", executor, "--json-string", "{}"],
    base_worker_pod=PodGenerator.deserialize_model_file(template),
)
def patience():
    again = client.Client.request.retry
    numbers = range(1, again.stop.max_attempt_number)
    pauses = [again.wait(types.SimpleNamespace(attempt_number=number)) for number in numbers]
    return {"patience": sum(pauses), "silence": supervisor.HEARTBEAT_TIMEOUT - again.wait.max}
news, now = queue.Queue(), datetime.datetime.now(datetime.UTC)
pod = V1Pod(metadata=V1ObjectMeta(name="p", labels={}, deletion_timestamp=now), status=V1PodStatus(phase="Pending"))
names = {"dag_id": "d", "task_id": "t", "run_id": "r", "try_number": "1"}
event = {"type": "DELETED", "object": pod, "raw_object": {}}
watcher = KubernetesJobWatcher("readmit", news, "0", "1", KubeConfig())
watcher.process_status("p", "readmit", "Pending", names, "1", event)
runner = SchedulerJobRunner(Job(), executors=[])
longest = runner._task_queued_timeout + conf.getfloat("scheduler", "task_queued_timeout_check_interval")
waits = longest * runner._num_stuck_queued_retries
limits = {"noticed": news.qsize(), "seconds": longest, "waits": waits, **patience()}
limits["publish_tries"] = KubernetesExecutor().task_publish_max_retries
os.environ.update(json.loads(hasty))
importlib.reload(client)
importlib.reload(supervisor)
print(json.dumps([ApiClient().sanitize_for_serialization(made), limits, patience()]))
"""
HASTY = {
    "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "90",
    "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "5",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "120",
}


@dataclass(frozen=True)
class Airflow:
    """A pod that Airflow's own code makes, the limits that it has, and its patience when hasty."""

    pod: dict[str, Any]
    limits: dict[str, float]
    hasty: dict[str, float]


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """What Airflow does with our settings and our template, in a process of its own."""
    resources = k8s.overlay("local")
    home = tmp_path_factory.mktemp("airflow")
    template = home / "pod.yaml"
    template.write_text(k8s.named(resources, "ConfigMap", "pod-template")["data"]["pod.yaml"])
    settings = k8s.named(resources, "ConfigMap", "airflow-settings")["data"]
    environment = {"PATH": os.environ["PATH"], **settings, "AIRFLOW_HOME": str(home)}
    completed = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(template), json.dumps(HASTY)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return Airflow(*json.loads(completed.stdout.splitlines()[-1]))


def test_airflow_makes_a_pod_of_our_template(airflow: Airflow) -> None:
    kubernetes_validate.validate(airflow.pod, "1.37", strict=True)
    [container] = airflow.pod["spec"]["containers"]
    assert container["name"] == "base"
    assert container["image"] in k8s.built_images()
    assert "command" not in container  # the image has no entry point: `args` is the command
    assert importlib.util.find_spec(container["args"][2])
    assert airflow.pod["metadata"]["labels"][k8s.NAME] == "airflow-task"
    assert airflow.pod["spec"]["enableServiceLinks"] is False


def test_the_template_is_where_airflow_looks() -> None:
    resources = k8s.overlay("local")
    settings = k8s.named(resources, "ConfigMap", "airflow-settings")["data"]
    path = settings["AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE"]
    container = k8s.pods(resources)["airflow-scheduler"]["spec"]["containers"][0]
    folders = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert path == f"{folders['pod-template']}/pod.yaml"


@pytest.mark.parametrize("kind", task_pods.KINDS)
def test_the_files_of_kinds_are_current_and_mounted(kind: str) -> None:
    path = task_pods.FOLDER / f"{kind}.yaml"
    assert path.read_text() == task_pods.text(kind), "python -m k8s.task_pods"
    mounted = k8s.named(k8s.overlay("local"), "ConfigMap", "pod-template")["data"]
    assert mounted[f"{kind}.yaml"] == path.read_text()


def test_only_promotion_signs_and_only_dbt_builds_in_a_pod_of_its_own() -> None:
    pods = k8s.task_pods(k8s.overlay("local"))
    signers = {name for name, pod in pods.items() if "MODEL_SIGNING_KEY" in json.dumps(pod)}
    assert signers == {"airflow-task-promotion"}
    assert "role-publisher" not in json.dumps(pods["airflow-task-dbt"])
    assert "role-" not in json.dumps(pods["airflow-task"])


def test_tasks_have_no_way_into_airflows_database_or_the_cluster() -> None:
    for pod in k8s.task_pods(k8s.overlay("local")).values():
        task = pod["spec"]
        text = json.dumps(task)
        assert task["automountServiceAccountToken"] is False
        assert not re.search(r"role-airflow|airflow-keys|postgres-admin|SQL_ALCHEMY_CONN", text)


def test_the_callback_of_a_killed_task_reaches_the_pushgateway() -> None:
    """The DAG processor runs it; without this way the alert TaskFailed never fires for a task whose
    pod was killed. The triggerer reports the tasks that end there.
    """
    resources = k8s.overlay("local")
    ways = {(source, target) for source, target, _ in k8s.allowed(resources)}
    assert ("airflow-task", "pushgateway") in ways
    for name in ("airflow-dag-processor", "airflow-triggerer"):
        assert (name, "pushgateway") in ways
        container = k8s.pods(resources)[name]["spec"]["containers"][0]
        assert {"configMapRef": {"name": "settings"}} in container["envFrom"]


def test_a_new_api_server_or_a_busy_cluster_costs_no_task_a_try(airflow: Airflow) -> None:
    assert min(airflow.limits["patience"], airflow.limits["silence"]) >= RESTART_SECONDS
    assert airflow.limits["publish_tries"] == -1
    assert max(airflow.hasty["patience"], airflow.hasty["silence"]) < RESTART_SECONDS


def test_a_pod_that_is_removed_while_it_waits_costs_minutes_and_no_try(airflow: Airflow) -> None:
    assert airflow.limits["noticed"] or airflow.limits["seconds"] <= 360
    assert airflow.limits["waits"] >= 3600  # for as long a task may wait for room


def rights(resources: list[k8s.Resource], name: str) -> set[tuple[str, str]]:
    pairs = set()
    for rule in k8s.named(resources, "Role", name)["rules"]:
        pairs.update(itertools.product(rule["resources"], rule["verbs"]))
    return pairs


def test_the_scheduler_has_the_rights_that_its_executor_needs() -> None:
    assert rights(k8s.overlay("local"), "airflow-scheduler") >= NEEDED


def test_a_missing_verb_is_noticed() -> None:
    resources = k8s.overlay("local")
    k8s.named(resources, "Role", "airflow-scheduler")["rules"][0]["verbs"].remove("watch")
    assert NEEDED - rights(resources, "airflow-scheduler") == {("pods", "watch")}


def test_nobody_may_read_secrets() -> None:
    for role in k8s.of_kind(k8s.everything(), "Role", "ClusterRole"):
        for rule in role["rules"]:
            assert not {"secrets", "*"} & {*rule["resources"]}
