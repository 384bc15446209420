"""The rendered manifests follow the rules, and each rule fails on a manifest that breaks it."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest

from k8s.make_secrets import missing
from readmit import libpq
from readmit.settings import PipelineSettings, StackSettings
from serving import prediction_log, shadow, watcher
from serving.routes import health
from stack import programs
from tests.support import k8s

# The oldest whose API server takes every field; the last three, and those before that clusters
# still run.
MINORS = ("1.26", "1.33", "1.34", "1.35", "1.36", "1.37")
# What a node of kind requests for itself: control plane 0.65, CoreDNS 0.2, Calico 0.25,
# metrics-server 0.1.
CLUSTERS_OWN_CPU = 1.2
UPSTREAM = {"docker.io/grafana/grafana"}
# The local overlay with the optional parts, and the other overlays.
STATES = ("everything", *(name for name in k8s.OVERLAYS if name != "local"))
Key = str | int
Break = Callable[[list[k8s.Resource]], None]


def rendered(state: str) -> list[k8s.Resource]:
    if state == "everything":
        return k8s.everything()
    return k8s.overlay(state)


def references(resources: list[k8s.Resource]) -> list[str]:
    keys = {}
    for secret in missing({}):
        keys[secret["metadata"]["name"]] = set(secret["stringData"])
    return k8s.references(resources, keys)


@cache
def routes() -> dict[str, set[str]]:
    """Return the paths of each program: the API's own routes, and the health checks of the
    one-machine stack.
    """
    settings = StackSettings(postgres_password="x", aws_secret_access_key="x")
    paths = {}
    for program in [*programs.all_programs(settings), *programs.observability(settings)]:
        if program.health:
            paths[program.name] = {urlsplit(program.health).path}
    paths["api"] = {route.path for route in health.router.routes}
    paths["api-server"] = paths["airflow-api-server"]
    paths["docs"] |= {"/", "/livez"}
    for name in ("prometheus", "pushgateway", "alertmanager"):
        paths[name] = {"/-/ready", "/-/healthy"}
    for name in ("locust-master", "node-exporter", "postgres-exporter"):
        paths[name] = {"/"}
    paths["scheduler"] = {"/health"}
    paths["login-proxy"] = {"/livez"}
    paths["grafana"] = {"/api/health"}
    paths["notebook"] = {"/api"}
    paths["blackbox-exporter"] = {"/-/healthy"}
    return paths


def probes(resources: list[k8s.Resource]) -> list[str]:
    return k8s.probes(resources, routes())


RULES: dict[str, Callable[[list[k8s.Resource]], list[str]]] = {
    "hardening": k8s.hardening,
    "references": references,
    "passwords": k8s.passwords,
    "mounts": k8s.mounts,
    "services": k8s.services,
    "addresses": k8s.addresses,
    "probes": probes,
    "drains": k8s.drains,
    "sizes": k8s.sizes,
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("state", STATES)
def test_rule_holds(state: str, rule: str) -> None:
    assert RULES[rule](rendered(state)) == []


@pytest.mark.parametrize("minor", MINORS)
@pytest.mark.parametrize("state", STATES)
def test_schema(state: str, minor: str) -> None:
    resources = rendered(state)
    for resource in [*resources, *k8s.task_pods(resources).values()]:
        # A kind without a schema raises, too.
        kubernetes_validate.validate(resource, minor, strict=True)


def test_a_misspelt_field_is_refused() -> None:
    deployment = k8s.named(k8s.overlay("local"), "Deployment", "api")
    deployment["spec"]["template"]["spec"]["serviceAcountName"] = "api"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, MINORS[-1], strict=True)


def test_minors_end_with_the_last_that_can_be_checked() -> None:
    assert kubernetes_validate.latest_version().startswith(MINORS[-1])


@pytest.mark.parametrize("components", k8s.combinations_of_components(), ids="+".join)
def test_components_combine(components: tuple[str, ...]) -> None:
    resources = k8s.combined(components)
    for resource in resources:
        if resource["kind"] != "Namespace":
            assert resource["metadata"].get("namespace") == "readmit"
    assert len(names_of(resources)) == len(resources)
    assert k8s.hardening(resources) == []


def names_of(resources: list[k8s.Resource]) -> set[tuple[str, str]]:
    return {(resource["kind"], k8s.name_of(resource)) for resource in resources}


def field_of(resources: list[k8s.Resource], kind: str, name: str, keys: tuple[Key, ...]) -> Any:
    field: Any = k8s.named(resources, kind, name)
    for key in keys:
        field = field[key]
    return field


def replaced(kind: str, name: str, *keys: Key, value: object) -> Break:
    def change(resources: list[k8s.Resource]) -> None:
        field_of(resources, kind, name, keys[:-1])[keys[-1]] = value

    return change


def removed(kind: str, name: str, *keys: Key) -> Break:
    def change(resources: list[k8s.Resource]) -> None:
        field_of(resources, kind, name, keys[:-1]).pop(keys[-1])

    return change


def added(kind: str, name: str, *keys: Key, value: object) -> Break:
    def change(resources: list[k8s.Resource]) -> None:
        field_of(resources, kind, name, keys).append(value)

    return change


def without_config_map(resources: list[k8s.Resource]) -> None:
    resources.remove(k8s.named(resources, "ConfigMap", "mlflow-auth"))


def without_probes(resources: list[k8s.Resource]) -> None:
    container = k8s.pods(resources)["api"]["spec"]["containers"][0]
    del container["startupProbe"]
    del container["readinessProbe"]
    del container["livenessProbe"]


API_POD = ("Deployment", "api", "spec", "template", "spec")
API_CONTAINER = (*API_POD, "containers", 0)
UI_POD = ("Deployment", "ui", "spec", "template", "spec")
SCHEDULER_POD = ("Deployment", "airflow-scheduler", "spec", "template", "spec")
SETTINGS = ("ConfigMap", "settings", "data")
BUDGET = ("PodDisruptionBudget", "api", "spec")
FOREIGN_SECRET = {"secretRef": {"name": "x"}}
SECRET_KEY = ("env", 0, "valueFrom", "secretKeyRef", "key")
HOST_PATH = {"name": "x", "hostPath": {"path": "/"}}
ADDRESS = {"name": "X", "value": "http://api:$(READMIT_MLFLOW_API_PASSWORD)@x:1"}
CONTAINER_CONTEXT = (*API_CONTAINER, "securityContext")
POD_CONTEXT = (*API_POD, "securityContext")
TOKEN = "automountServiceAccountToken"
BREACHES: list[tuple[str, str, Break]] = [
    ("hardening", "writable root", removed(*CONTAINER_CONTEXT, "readOnlyRootFilesystem")),
    ("hardening", "root user", replaced(*POD_CONTEXT, "runAsUser", value=0)),
    ("hardening", "capabilities", removed(*CONTAINER_CONTEXT, "capabilities")),
    ("hardening", "service links", removed(*UI_POD, "enableServiceLinks")),
    ("hardening", "token", removed(*UI_POD, TOKEN)),
    ("hardening", "no token", replaced(*SCHEDULER_POD, TOKEN, value=False)),
    ("hardening", "foreign account", replaced(*UI_POD, "serviceAccountName", value="x")),
    ("hardening", "host path", added(*UI_POD, "volumes", value=HOST_PATH)),
    ("hardening", "volumes of root", removed(*POD_CONTEXT, "fsGroup")),
    ("hardening", "nowhere to write", replaced(*API_CONTAINER, "volumeMounts", value=[])),
    ("hardening", "no limits", removed(*API_CONTAINER, "resources", "limits")),
    (
        "hardening",
        "latest",
        replaced(*API_CONTAINER, "image", value="localhost:5000/serving:latest"),
    ),
    ("hardening", "no tag", replaced(*API_CONTAINER, "image", value="localhost:5000/serving")),
    ("references", "unknown secret", added(*API_CONTAINER, "envFrom", value=FOREIGN_SECRET)),
    ("references", "unknown key", replaced(*API_CONTAINER, *SECRET_KEY, value="MLFLOW_PASSWORT")),
    ("references", "unknown config", without_config_map),
    ("passwords", "password in an address", added(*API_CONTAINER, "env", value=ADDRESS)),
    ("mounts", "mount without volume", removed(*UI_POD, "volumes")),
    ("services", "port gone", replaced(*API_CONTAINER, "ports", 0, "name", value="http")),
    (
        "services",
        "selector",
        replaced("Service", "docs", "spec", "selector", k8s.NAME, value="doc"),
    ),
    (
        "addresses",
        "moved service",
        replaced("Service", "mlflow", "spec", "ports", 0, "port", value=5001),
    ),
    ("addresses", "moved database", replaced(*SETTINGS, "READMIT_POSTGRES_PORT", value="5433")),
    (
        "drains",
        "a pair without a budget",
        replaced("Deployment", "docs", "spec", "replicas", value=2),
    ),
    ("drains", "budget of none", replaced(*BUDGET, "maxUnavailable", value=0)),
    ("drains", "budget that counts the unready", removed(*BUDGET, "unhealthyPodEvictionPolicy")),
    ("sizes", "large file", replaced(*SETTINGS, "FILE", value="x" * 300_000)),
    (
        "probes",
        "unknown route",
        replaced(*API_CONTAINER, "readinessProbe", "httpGet", "path", value="/ready"),
    ),
    (
        "probes",
        "unknown port",
        replaced(*API_CONTAINER, "livenessProbe", "httpGet", "port", value="http"),
    ),
    ("probes", "no probes", without_probes),
]


@pytest.mark.parametrize(("rule", "name", "change"), BREACHES)
def test_rule_can_fail(rule: str, name: str, change: Break) -> None:
    resources = k8s.overlay("local")
    change(resources)
    assert len(RULES[rule](resources)) >= 1


def test_no_secret_is_in_git() -> None:
    for state in STATES:
        assert not k8s.of_kind(rendered(state), "Secret")


def test_local_images_are_built_here() -> None:
    images = k8s.images(k8s.everything())
    for image in images - k8s.built_images():
        repository, _, _ = image.partition("@")[0].rpartition(":")
        assert repository in UPSTREAM
    assert images - k8s.images(k8s.overlay("local")) != set()


def test_an_image_of_another_version_is_noticed() -> None:
    assert "localhost/readmit/serving:0.0.1" not in k8s.built_images()
    assert "localhost/readmit/serving:0.1.0" in k8s.built_images()


def test_production_takes_no_local_image() -> None:
    """The pod template is left out: Airflow puts the scheduler's image into it."""
    for name, pod in k8s.pods(k8s.overlay("production")).items():
        if name.startswith(k8s.TASK):
            continue
        for container in k8s.containers(pod):
            assert not container["image"].startswith("localhost/")


@pytest.mark.parametrize("name", k8s.OVERLAYS)
def test_tasks_run_the_schedulers_image(name: str) -> None:
    resources = k8s.overlay(name)
    settings = k8s.named(resources, "ConfigMap", "airflow-settings")["data"]
    repository = settings["AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_REPOSITORY"]
    tag = settings["AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_TAG"]
    scheduler = k8s.pods(resources)["airflow-scheduler"]["spec"]["containers"][0]
    assert f"{repository}:{tag}" == scheduler["image"]


def test_local_fits_a_small_node() -> None:
    resources = k8s.overlay("local")
    assert k8s.requested(resources, "cpu") <= min(1.6, 2 - CLUSTERS_OWN_CPU)
    assert k8s.requested(resources, "memory") <= 12e9


# The most resident memory, in MB, on a real cluster with 220,000 rows.
MEASURED_MB = {
    "airflow-scheduler": 467,
    "mlflow": 456,
    "postgres": 522,
    "s3": 249,
    "api": 221,
    "airflow-task-training": 1_334,
    "airflow-task-promotion": 1_334,
}


@pytest.mark.parametrize("part", MEASURED_MB)
def test_requests_cover_the_measured_memory_and_limits_leave_room(part: str) -> None:
    resources = k8s.pods(k8s.overlay("local"))[part]["spec"]["containers"][0]["resources"]
    assert k8s.quantity(resources["requests"]["memory"]) >= MEASURED_MB[part] * 1e6
    assert k8s.quantity(resources["limits"]["memory"]) >= 2 * MEASURED_MB[part] * 1e6


@pytest.mark.parametrize("part", [part for part in MEASURED_MB if "task" not in part])
def test_the_sizing_table_has_what_the_manifests_request(part: str) -> None:
    text = (k8s.ROOT / "docs" / "kubernetes.md").read_text()
    [row] = re.findall(rf"(?m)^\| `{part}` \| (.*?) \| (.*?) \| (.*?) \|", text)
    resources = k8s.pods(k8s.overlay("local"))[part]["spec"]["containers"][0]["resources"]
    requests = resources["requests"]
    limits = resources["limits"]
    assert row[0] == f"{requests['cpu']}, {requests['memory']}"
    assert row[1] == f"{limits['cpu']}, {limits['memory']}"
    assert row[2] == f"{MEASURED_MB[part]} MB"


def test_a_larger_pod_is_counted() -> None:
    resources = k8s.overlay("local")
    before = k8s.requested(resources, "cpu")
    k8s.named(resources, "Deployment", "ui")["spec"]["replicas"] = 3
    replaced(*API_CONTAINER, "resources", "requests", "cpu", value="1")(resources)
    more_of_ui = 2 * 0.025
    more_of_api = 1 - 0.1
    assert k8s.requested(resources, "cpu") == pytest.approx(before + more_of_ui + more_of_api)


@pytest.mark.parametrize("name", k8s.OVERLAYS)
def test_settings_are_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = k8s.named(k8s.overlay(name), "ConfigMap", "settings")["data"]
    for key, value in data.items():
        monkeypatch.setenv(key, value)
    settings = PipelineSettings()
    assert settings.postgres_host == data["READMIT_POSTGRES_HOST"]
    assert settings.s3_endpoint_url == data["MLFLOW_S3_ENDPOINT_URL"]


@pytest.mark.parametrize("name", k8s.OVERLAYS)
def test_nobody_waits_long_for_a_server_that_has_another_address_by_now(name: str) -> None:
    """Airflow, MLflow and dbt set no limit themselves: without this one the kernel's is two
    minutes.
    """
    data = k8s.named(k8s.overlay(name), "ConfigMap", "settings")["data"]
    assert data["PGCONNECT_TIMEOUT"] == libpq.PARAMETERS["connect_timeout"]
    airflow = k8s.named(k8s.overlay(name), "ConfigMap", "airflow-settings")["data"]
    assert airflow["AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS"] == "readmit.libpq.PARAMETERS"
    mlflow = k8s.named(k8s.overlay(name), "Deployment", "mlflow")
    [server] = mlflow["spec"]["template"]["spec"]["containers"]
    [address] = [
        variable["value"]
        for variable in server["env"]
        if variable["name"] == "MLFLOW_BACKEND_STORE_URI"
    ]
    assert address.partition("?")[2] == libpq.as_query()
    readers = {
        "airflow-scheduler",
        "airflow-api-server",
        "airflow-dag-processor",
        "airflow-triggerer",
        "mlflow",
    }
    for part in readers | {"airflow-task"}:
        main = k8s.pods(k8s.overlay(name))[part]["spec"]["containers"][0]
        assert {"configMapRef": {"name": "settings"}} in main["envFrom"]


def test_postgres_may_restart_without_ending_its_clients() -> None:
    """Its Service keeps an address while there is no pod, and Airflow's loops wait for it."""
    from readmit.ops import patient_connections

    resources = k8s.overlay("local")
    host = k8s.named(resources, "ConfigMap", "settings")["data"]["READMIT_POSTGRES_HOST"]
    assert "clusterIP" not in k8s.named(resources, "Service", host)["spec"]
    connect_args = {
        "name": "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS",
        "value": f"{patient_connections.__name__}.PARAMETERS",
    }
    patient = set()
    for name, pod in k8s.pods(resources).items():
        if connect_args in pod["spec"]["containers"][0].get("env", []):
            patient.add(name)
    assert patient == {"airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"}
    for name in patient:
        probe = k8s.pods(resources)[name]["spec"]["containers"][0]["livenessProbe"]
        seconds = probe["periodSeconds"] * probe["failureThreshold"]
        assert seconds > patient_connections.SECONDS


def test_the_only_pod_of_the_api_keeps_its_model_on_a_claim() -> None:
    volumes = k8s.pods(k8s.overlay("local"))["api"]["spec"]["volumes"]
    claim = {"claimName": "api-state"}
    assert {"name": "state", "persistentVolumeClaim": claim} in volumes
    assert k8s.named(k8s.overlay("local"), "PersistentVolumeClaim", "api-state")


def test_namespace_refuses_pods_that_are_not_restricted() -> None:
    labels = k8s.named(k8s.overlay("local"), "Namespace", "readmit")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert re.fullmatch(r"v1\.\d+", labels["pod-security.kubernetes.io/enforce-version"])


def test_state_is_on_claims() -> None:
    stateful_sets = k8s.of_kind(k8s.overlay("local"), "StatefulSet")
    claimed = set(map(k8s.name_of, stateful_sets))
    assert {"postgres", "s3", "prometheus", "pushgateway"} <= claimed
    backup = k8s.pods(k8s.overlay("local"))["backup"]["spec"]
    assert {"name": "backups", "persistentVolumeClaim": {"claimName": "backups"}} in backup[
        "volumes"
    ]


def test_roll_out_loses_no_request() -> None:
    spec = k8s.named(k8s.overlay("production"), "Deployment", "api")["spec"]
    pod = spec["template"]["spec"]
    command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1]
    signalled, slept = command.split("; sleep ")
    # Kept connections are closed by their next answer: serving/draining.py.
    assert signalled == "kill -USR1 1"
    drain = int(slept)
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "replicas" not in spec  # the HPA's
    # uvicorn's own limit, in serving/Dockerfile, then the parts that are stopped one by one
    assert '--timeout-graceful-shutdown", "20' in (k8s.ROOT / "serving" / "Dockerfile").read_text()
    parts = watcher.STOP_SECONDS + shadow.STOP_SECONDS + prediction_log.STOP_SECONDS
    assert pod["terminationGracePeriodSeconds"] >= drain + 20 + parts + 5


def test_postgres_is_tuned_as_on_one_machine() -> None:
    from stack.postgres import TUNING

    arguments = k8s.pods(k8s.overlay("local"))["postgres"]["spec"]["containers"][0]["args"]
    tuning = {}
    for argument in arguments:
        if "=" in argument:
            name, value = argument.split("=", 1)
            tuning[name] = value
    assert tuning == TUNING


def test_connections_last_for_every_process_of_the_api_and_for_everybody_else() -> None:
    from readmit.ops.bootstrap import MAX_CONNECTIONS
    from serving import history, queries
    from stack.postgres import TUNING

    scaler = k8s.named(k8s.overlay("production"), "HorizontalPodAutoscaler", "api")
    n_pods = scaler["spec"]["maxReplicas"]
    assert MAX_CONNECTIONS["reader"] >= n_pods * queries.MAX_CONNECTIONS + 10  # tasks and Grafana
    # the history, the prediction log, and the look at the last decision
    assert MAX_CONNECTIONS["serving"] >= n_pods * (history.THREADS + 2)
    others = int(TUNING["max_connections"]) - sum(MAX_CONNECTIONS.values())
    assert others >= 100


def test_the_api_scales_on_metrics_that_it_shows() -> None:
    from readmit.telemetry.metrics import METRICS

    scaler = k8s.named(k8s.overlay("production"), "HorizontalPodAutoscaler", "api")
    metrics = {metric["type"]: metric for metric in scaler["spec"]["metrics"]}
    assert set(metrics) == {"Resource", "External"}
    name = metrics["External"]["external"]["metric"]["name"]
    assert name in METRICS
    adapter_rules = k8s.K8S / "components" / "autoscaling" / "adapter-rules.yaml"
    assert f'__name__="{name}"' in adapter_rules.read_text()
