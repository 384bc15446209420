"""Prometheus on Kubernetes reads what it reads on one machine, and asks the health of every
part.
"""

from typing import Any

import yaml

from tests.support import k8s

# Read by jobs of their own, which say `up`; Airflow's parts are asked for through its api-server.
READ = {
    "postgres",
    "prometheus",
    "alertmanager",
    "pushgateway",
    "node-exporter",
    "postgres-exporter",
    "blackbox-exporter",
}
OPTIONAL = {"locust-master", "locust-worker", "notebook"}


def file(name: str) -> Any:
    """Return a file out of the ConfigMap that holds it, parsed."""
    found = (
        each["data"] for each in k8s.of_kind(k8s.everything(), "ConfigMap") if name in each["data"]
    )
    return yaml.safe_load(next(found)[name])


def jobs() -> dict[str, dict[str, Any]]:
    return {job["job_name"]: job for job in file("prometheus.yml")["scrape_configs"]}


def probed(job: dict[str, Any]) -> set[str]:
    fixed = {each["labels"]["instance"] for each in job["static_configs"]}
    return fixed | {
        name.removesuffix("-pods") for each in job["dns_sd_configs"] for name in each["names"]
    }


def running(resources: list[k8s.Resource]) -> set[str]:
    kinds = ("Deployment", "StatefulSet", "DaemonSet")
    return {each["metadata"]["name"] for each in k8s.of_kind(resources, *kinds)} - READ - OPTIONAL


def test_the_jobs_are_those_of_one_machine() -> None:
    """Rules and dashboards name jobs; a job that exists in one place only is an alert that never
    fires in the other.
    """
    machine = yaml.safe_load((k8s.ROOT / "stack" / "prometheus.yml").read_text())["scrape_configs"]
    assert jobs().keys() == {job["job_name"] for job in machine}


def test_every_part_is_asked() -> None:
    assert probed(jobs()["probe"]) == running(k8s.everything())


def test_a_part_that_nobody_asks_is_seen() -> None:
    resources = k8s.everything()
    k8s.named(resources, "Deployment", "ui")["metadata"]["name"] = "ui-2"
    assert running(resources) - probed(jobs()["probe"]) == {"ui-2"}


def test_probes_use_modules_that_exist() -> None:
    wanted = {each["labels"]["__param_module"] for each in jobs()["probe"]["static_configs"]}
    assert wanted | {"http"} <= file("blackbox.yml")["modules"].keys()


def test_parts_that_may_be_outside_are_found_by_dns() -> None:
    """A fixed target that an overlay takes away would raise an alert for ever."""
    names = {
        found["metadata"]["name"] for found in k8s.of_kind(k8s.overlay("production"), "Service")
    }
    fixed = [each for job in jobs().values() for each in job.get("static_configs", [])]
    hosts = {
        target.removeprefix("http://").split(":")[0] for each in fixed for target in each["targets"]
    }
    assert hosts - {"127.0.0.1"} <= names
    assert "s3-pods" not in names
