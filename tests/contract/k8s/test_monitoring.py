"""Prometheus on Kubernetes has the jobs of one machine, and probes the health of every part."""

from typing import Any

import yaml

from tests.support import k8s

# Scraped by jobs of their own, which set `up`; Airflow's parts are probed through its api-server.
SCRAPED = {
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
    for config_map in k8s.of_kind(k8s.everything(), "ConfigMap"):
        if name in config_map["data"]:
            return yaml.safe_load(config_map["data"][name])
    raise FileNotFoundError(name)


def jobs() -> dict[str, dict[str, Any]]:
    return {job["job_name"]: job for job in file("prometheus.yml")["scrape_configs"]}


def probed(job: dict[str, Any]) -> set[str]:
    parts = {config["labels"]["instance"] for config in job["static_configs"]}
    for config in job["dns_sd_configs"]:
        parts |= {name.removesuffix("-pods") for name in config["names"]}
    return parts


def running(resources: list[k8s.Resource]) -> set[str]:
    workloads = k8s.of_kind(resources, "Deployment", "StatefulSet", "DaemonSet")
    return set(map(k8s.name_of, workloads)) - SCRAPED - OPTIONAL


def test_the_jobs_are_those_of_one_machine() -> None:
    """Rules and dashboards name jobs; a job that exists in one place only is an alert that never
    fires in the other.
    """
    machine = yaml.safe_load((k8s.ROOT / "stack" / "prometheus.yml").read_text())["scrape_configs"]
    assert jobs().keys() == {job["job_name"] for job in machine}


def test_every_part_is_probed() -> None:
    assert probed(jobs()["probe"]) == running(k8s.everything())


def test_a_part_without_a_probe_is_noticed() -> None:
    resources = k8s.everything()
    k8s.named(resources, "Deployment", "ui")["metadata"]["name"] = "ui-2"
    assert running(resources) - probed(jobs()["probe"]) == {"ui-2"}


def test_probes_use_modules_that_exist() -> None:
    configs = jobs()["probe"]["static_configs"]
    modules = {config["labels"]["__param_module"] for config in configs}
    assert modules | {"http"} <= file("blackbox.yml")["modules"].keys()


def test_parts_that_may_be_outside_are_found_by_dns() -> None:
    """A fixed target that an overlay takes away would raise an alert for ever."""
    names = set(map(k8s.name_of, k8s.of_kind(k8s.overlay("production"), "Service")))
    hosts = set()
    for job in jobs().values():
        for config in job.get("static_configs", []):
            for target in config["targets"]:
                hosts.add(target.removeprefix("http://").split(":")[0])
    assert hosts - {"127.0.0.1"} <= names
    assert "s3-pods" not in names
