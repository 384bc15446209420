"""The rendered manifests against the rules; each rule is also shown to fail on a manifest that
breaks it.
"""

import re
from collections.abc import Callable
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
STATES = {
    "everything": k8s.everything,
    **{name: (lambda name=name: k8s.overlay(name)) for name in k8s.OVERLAYS if name != "local"},
}
Break = Callable[[list[k8s.Resource]], None]


def secret_keys() -> dict[str, set[str]]:
    return {found["metadata"]["name"]: set(found["stringData"]) for found in missing({})}


def routes() -> dict[str, set[str]]:
    """What each program answers: the API's own routes, and the health checks of the one-machine
    stack.
    """
    settings = StackSettings(postgres_password="x", aws_secret_access_key="x")
    listed = [*programs.all_programs(settings), *programs.observability(settings)]
    known = {program.name: {urlsplit(program.health).path} for program in listed if program.health}
    known["api"] = {route.path for route in health.router.routes}
    known["api-server"] = known["airflow-api-server"]
    known["docs"] |= {"/", "/livez"}
    for name in ("prometheus", "pushgateway", "alertmanager"):
        known[name] = {"/-/ready", "/-/healthy"}
    others = {
        "scheduler": "/health",
        "locust-master": "/",
        "node-exporter": "/",
        "postgres-exporter": "/",
    }
    others |= {"login-proxy": "/livez"}
    others |= {"grafana": "/api/health", "notebook": "/api", "blackbox-exporter": "/-/healthy"}
    return known | {name: {path} for name, path in others.items()}


RULES: dict[str, Callable[[list[k8s.Resource]], list[str]]] = {
    "hardening": k8s.hardening,
    "references": lambda resources: k8s.references(resources, secret_keys()),
    "passwords": k8s.passwords,
    "mounts": k8s.mounts,
    "services": k8s.services,
    "addresses": k8s.addresses,
    "probes": lambda resources: k8s.probes(resources, routes()),
    "drains": k8s.drains,
    "sizes": k8s.sizes,
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("state", STATES)
def test_rule_holds(state: str, rule: str) -> None:
    assert RULES[rule](STATES[state]()) == []


@pytest.mark.parametrize("minor", MINORS)
@pytest.mark.parametrize("state", STATES)
def test_schema(state: str, minor: str) -> None:
    for resource in [*STATES[state](), *k8s.task_pods(STATES[state]()).values()]:
        kubernetes_validate.validate(
            resource, minor, strict=True
        )  # a kind without a schema raises, too


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
    assert len({(each["kind"], each["metadata"]["name"]) for each in resources}) == len(resources)
    assert k8s.hardening(resources) == []
    assert all(
        each["metadata"].get("namespace") == "readmit"
        for each in resources
        if each["kind"] != "Namespace"
    )


def spec_of(kind: str, name: str, change: Callable[[k8s.Resource], object]) -> Break:
    """Break the pod of a workload."""
    return lambda resources: change(k8s.named(resources, kind, name)["spec"]["template"]["spec"])  # type: ignore[func-returns-value]


def first(change: Callable[[k8s.Resource], object], name: str = "api") -> Break:
    return spec_of("Deployment", name, lambda spec: change(spec["containers"][0]))


BROKEN: dict[str, tuple[str, Break]] = {
    "writable root": (
        "hardening",
        first(lambda each: each["securityContext"].pop("readOnlyRootFilesystem")),
    ),
    "root user": (
        "hardening",
        spec_of("Deployment", "api", lambda spec: spec["securityContext"].update(runAsUser=0)),
    ),
    "capabilities": ("hardening", first(lambda each: each["securityContext"].pop("capabilities"))),
    "service links": (
        "hardening",
        spec_of("Deployment", "ui", lambda spec: spec.pop("enableServiceLinks")),
    ),
    "token": (
        "hardening",
        spec_of("Deployment", "ui", lambda spec: spec.pop("automountServiceAccountToken")),
    ),
    "no token": (
        "hardening",
        spec_of(
            "Deployment",
            "airflow-scheduler",
            lambda spec: spec.update(automountServiceAccountToken=False),
        ),
    ),
    "foreign account": (
        "hardening",
        spec_of("Deployment", "ui", lambda spec: spec.update(serviceAccountName="x")),
    ),
    "host path": (
        "hardening",
        spec_of(
            "Deployment",
            "ui",
            lambda spec: spec["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
        ),
    ),
    "volumes of root": (
        "hardening",
        spec_of("Deployment", "api", lambda spec: spec["securityContext"].pop("fsGroup")),
    ),
    "nowhere to write": ("hardening", first(lambda each: each["volumeMounts"].clear())),
    "a pair without a budget": (
        "drains",
        lambda resources: k8s.named(resources, "Deployment", "docs")["spec"].update(replicas=2),
    ),
    "no limits": ("hardening", first(lambda each: each["resources"].pop("limits"))),
    "latest": ("hardening", first(lambda each: each.update(image="localhost:5000/serving:latest"))),
    "no tag": ("hardening", first(lambda each: each.update(image="localhost:5000/serving"))),
    "unknown secret": (
        "references",
        first(lambda each: each["envFrom"].append({"secretRef": {"name": "x"}})),
    ),
    "unknown key": (
        "references",
        first(
            lambda each: each["env"][0]["valueFrom"]["secretKeyRef"].update(key="MLFLOW_PASSWORT")
        ),
    ),
    "unknown config": (
        "references",
        lambda resources: resources.remove(k8s.named(resources, "ConfigMap", "mlflow-auth")),
    ),
    "password in an address": (
        "passwords",
        first(
            lambda each: each["env"].append(
                {"name": "X", "value": "http://api:$(READMIT_MLFLOW_API_PASSWORD)@x:1"}
            )
        ),
    ),
    "mount without volume": (
        "mounts",
        spec_of("Deployment", "ui", lambda spec: spec.pop("volumes")),
    ),
    "port gone": ("services", first(lambda each: each["ports"][0].update(name="http"))),
    "selector": (
        "services",
        lambda resources: k8s.named(resources, "Service", "docs")["spec"]["selector"].update(
            {k8s.NAME: "doc"}
        ),
    ),
    "moved service": (
        "addresses",
        lambda resources: k8s.named(resources, "Service", "mlflow")["spec"]["ports"][0].update(
            port=5001
        ),
    ),
    "moved database": (
        "addresses",
        lambda resources: k8s.named(resources, "ConfigMap", "settings")["data"].update(
            READMIT_POSTGRES_PORT="5433"
        ),
    ),
    "budget of none": (
        "drains",
        lambda resources: k8s.named(resources, "PodDisruptionBudget", "api")["spec"].update(
            maxUnavailable=0
        ),
    ),
    "budget that counts the unready": (
        "drains",
        lambda resources: k8s.named(resources, "PodDisruptionBudget", "api")["spec"].pop(
            "unhealthyPodEvictionPolicy"
        ),
    ),
    "large file": (
        "sizes",
        lambda resources: k8s.named(resources, "ConfigMap", "settings")["data"].update(
            FILE="x" * 300_000
        ),
    ),
    "unknown route": (
        "probes",
        first(lambda each: each["readinessProbe"]["httpGet"].update(path="/ready")),
    ),
    "unknown port": (
        "probes",
        first(lambda each: each["livenessProbe"]["httpGet"].update(port="http")),
    ),
    "no probes": (
        "probes",
        first(
            lambda each: [
                each.pop(kind) for kind in ("startupProbe", "readinessProbe", "livenessProbe")
            ]
        ),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_rule_can_fail(name: str) -> None:
    rule, change = BROKEN[name]
    resources = k8s.overlay("local")
    change(resources)
    assert len(RULES[rule](resources)) >= 1


def test_no_secret_is_in_git() -> None:
    assert all(not k8s.of_kind(make(), "Secret") for make in STATES.values())


def test_local_images_are_built_here() -> None:
    found = k8s.images(k8s.everything())
    foreign = {image.partition("@")[0].rpartition(":")[0] for image in found - k8s.built_images()}
    assert foreign <= UPSTREAM
    assert found - k8s.images(k8s.overlay("local")) != set()


def test_an_image_of_another_version_is_seen() -> None:
    assert "localhost/readmit/serving:0.0.1" not in k8s.built_images()
    assert "localhost/readmit/serving:0.1.0" in k8s.built_images()


def test_production_takes_no_local_image() -> None:
    """The pod template is left out: Airflow puts the scheduler's image into it."""
    found = k8s.pods(k8s.overlay("production"))
    mine = [
        each["image"]
        for name, pod in found.items()
        if not name.startswith(k8s.TASK)
        for each in k8s.containers(pod)
    ]
    assert not [image for image in mine if image.startswith("localhost/")]


@pytest.mark.parametrize("name", k8s.OVERLAYS)
def test_tasks_run_the_schedulers_image(name: str) -> None:
    resources = k8s.overlay(name)
    settings = k8s.named(resources, "ConfigMap", "airflow-settings")["data"]
    chosen = [
        settings[f"AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_{part}"]
        for part in ("REPOSITORY", "TAG")
    ]
    scheduler = k8s.pods(resources)["airflow-scheduler"]["spec"]["containers"][0]
    assert ":".join(chosen) == scheduler["image"]


def test_local_fits_a_small_node() -> None:
    resources = k8s.overlay("local")
    assert k8s.requested(resources, "cpu") <= min(1.6, 2 - CLUSTERS_OWN_CPU)
    assert k8s.requested(resources, "memory") <= 12e9


# The most resident memory, in MB, on a real cluster with 220,000 rows.
SEEN = {
    "airflow-scheduler": 467,
    "mlflow": 456,
    "postgres": 522,
    "s3": 249,
    "api": 221,
    "airflow-task-training": 1_334,
    "airflow-task-promotion": 1_334,
}


@pytest.mark.parametrize("part", SEEN)
def test_requests_cover_what_was_seen_and_limits_leave_room(part: str) -> None:
    resources = k8s.pods(k8s.overlay("local"))[part]["spec"]["containers"][0]["resources"]
    assert k8s.quantity(resources["requests"]["memory"]) >= SEEN[part] * 1e6
    assert k8s.quantity(resources["limits"]["memory"]) >= 2 * SEEN[part] * 1e6


@pytest.mark.parametrize("part", [part for part in SEEN if "task" not in part])
def test_the_sizing_table_has_what_the_manifests_request(part: str) -> None:
    text = (k8s.ROOT / "docs" / "kubernetes.md").read_text()
    [row] = re.findall(rf"(?m)^\| `{part}` \| (.*?) \| (.*?) \| (.*?) \|", text)
    resources = k8s.pods(k8s.overlay("local"))[part]["spec"]["containers"][0]["resources"]
    requests, limits = resources["requests"], resources["limits"]
    assert row[0] == f"{requests['cpu']}, {requests['memory']}"
    assert row[1] == f"{limits['cpu']}, {limits['memory']}"
    assert row[2] == f"{SEEN[part]} MB"


def test_a_larger_pod_is_counted() -> None:
    resources = k8s.overlay("local")
    before = k8s.requested(resources, "cpu")
    k8s.named(resources, "Deployment", "ui")["spec"]["replicas"] = 3
    first(lambda each: each["resources"]["requests"].update(cpu="1"))(resources)
    ui, api = 2 * 0.025, 1 - 0.1
    assert k8s.requested(resources, "cpu") == pytest.approx(before + ui + api)


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
    addresses = [
        variable["value"]
        for variable in server["env"]
        if variable["name"] == "MLFLOW_BACKEND_STORE_URI"
    ]
    assert [address.partition("?")[2] for address in addresses] == [libpq.as_query()]
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


def test_postgres_may_go_without_ending_what_works_with_it() -> None:
    """Its Service keeps an address while there is no pod, and Airflow's loops wait for it."""
    from readmit.ops import patient_connections

    resources = k8s.overlay("local")
    host = k8s.named(resources, "ConfigMap", "settings")["data"]["READMIT_POSTGRES_HOST"]
    assert "clusterIP" not in k8s.named(resources, "Service", host)["spec"]
    variable = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS"
    patient = {
        name
        for name, pod in k8s.pods(resources).items()
        for each in pod["spec"]["containers"][0].get("env", [])
        if each["name"] == variable
        and each["value"] == f"{patient_connections.__name__}.PARAMETERS"
    }
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


def test_namespace_refuses_what_is_not_restricted() -> None:
    labels = k8s.named(k8s.overlay("local"), "Namespace", "readmit")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert re.fullmatch(r"v1\.\d+", labels["pod-security.kubernetes.io/enforce-version"])


def test_state_is_on_claims() -> None:
    claimed = {
        found["metadata"]["name"] for found in k8s.of_kind(k8s.overlay("local"), "StatefulSet")
    }
    assert {"postgres", "s3", "prometheus", "pushgateway"} <= claimed
    backup = k8s.pods(k8s.overlay("local"))["backup"]["spec"]
    assert {"name": "backups", "persistentVolumeClaim": {"claimName": "backups"}} in backup[
        "volumes"
    ]


def test_roll_out_loses_no_request() -> None:
    spec = k8s.named(k8s.overlay("production"), "Deployment", "api")["spec"]
    pod = spec["template"]["spec"]
    signalled, slept = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1].split(
        "; sleep "
    )
    assert (
        signalled == "kill -USR1 1"
    )  # kept connections are closed by their next answer: serving/draining.py
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
    assert dict(part.split("=", 1) for part in arguments if "=" in part) == TUNING


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

    metrics = k8s.named(k8s.overlay("production"), "HorizontalPodAutoscaler", "api")["spec"][
        "metrics"
    ]
    assert {each["type"] for each in metrics} == {"Resource", "External"}
    name = next(
        each["external"]["metric"]["name"] for each in metrics if each["type"] == "External"
    )
    assert name in METRICS
    assert (
        f'__name__="{name}"'
        in (k8s.K8S / "components" / "autoscaling" / "adapter-rules.yaml").read_text()
    )
