"""The list of metrics against real endpoints: the API with two worker processes, the exporters that
are installed.
"""

import os
import secrets
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from readmit import storage
from readmit.settings import ROOT, StackSettings
from readmit.telemetry.metrics import API, PLATFORM, Kind
from stack import programs
from stack.object_store import identities
from tests.support.api import processes, ready, running
from tests.support.services import S3_OFFSETS, end, free_port, fresh, wait_until
from tests.support.serving import ROW

WORKERS = 2


def get(url):
    try:
        return httpx.get(url, trust_env=False, timeout=5)
    except httpx.TransportError:
        return None


def started(command, log, **more):
    with log.open("wb") as file:
        return subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=file, env={**os.environ, **more}
        )


@pytest.fixture
def api(tmp_path):
    """The API with two workers, each with a model loaded; gives its address and the folder of the
    workers' files.
    """
    with running(tmp_path, WORKERS) as (url, _):
        yield url, tmp_path / "together"


def families(url):
    return {
        found.name: found for found in text_string_to_metric_families(get(f"{url}/metrics").text)
    }


def total(url, name, **labels):
    samples = [
        each for found in families(url).values() for each in found.samples if each.name == name
    ]
    return sum(each.value for each in samples if labels.items() <= each.labels.items())


def predict(url):
    return httpx.post(f"{url}/predict", json=ROW, trust_env=False, timeout=30).status_code


def test_two_workers_show_the_list_and_count_as_one(api):
    url, folder = api
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(predict, [url] * 200)) == {200}
    assert httpx.post(f"{url}/predict", json={}, trust_env=False).status_code == 422
    shown = families(url)
    listed = {metric.name.removesuffix("_total"): metric for metric in API}
    used = {name for name in listed if "shadow" not in name and name != "readmit_history_lookups"}
    assert used <= set(shown) <= set(listed)
    for name, family in shown.items():
        assert family.type == listed[name].kind.value, name
        extra = {"le"} if listed[name].kind is Kind.HISTOGRAM else set()
        assert all(
            set(each.labels) - extra == set(listed[name].labels) for each in family.samples
        ), name
    assert total(url, "readmit_requests_total", route="/predict", status="200") == 200
    assert total(url, "readmit_request_seconds_count", route="/predict") == 201
    assert total(url, "readmit_predictions_total", version="1") == 200
    assert total(url, "readmit_score_count", version="1") == 200
    assert total(url, "readmit_model", version="1") == 1
    assert total(url, "readmit_model_promoted_timestamp_seconds") > 0
    assert total(url, "readmit_requests_in_flight") == 1  # this look itself
    shares = [file.stat().st_size for file in folder.glob("counter_*.db")]
    assert len(shares) == WORKERS


def test_a_killed_worker_takes_its_gauges_along_and_leaves_its_counts(api):
    url, folder = api
    for _ in range(20):
        predict(url)
    before = processes(folder)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    wait_until(
        lambda: len(processes(folder)) == WORKERS and victim not in processes(folder),
        "a new worker",
        60,
    )
    wait_until(lambda: all(ready(url) for _ in range(10)), "it has a model", 60)
    assert total(url, "readmit_predictions_total") == 20
    assert total(url, "readmit_requests_in_flight") == 1
    assert not list(folder.glob(f"gauge_live*_{victim}.db"))


PORTS = ("node_exporter", "postgres_exporter", "pushgateway", "prometheus", "blackbox_exporter")
EXPORTERS = {
    "node-exporter": ("node_",),
    "postgres-exporter": ("pg_",),
    "pushgateway": ("push_",),
    "prometheus": ("process_",),
}


@pytest.mark.parametrize(
    "name", [name for name in EXPORTERS if shutil.which(name) or shutil.which(f"prometheus-{name}")]
)
def test_platform_metrics_are_given_under_their_listed_names(name, tmp_path):
    known = fresh(tmp_path) if name == "postgres-exporter" else StackSettings(readmit_home=tmp_path)
    settings = StackSettings(**known.model_dump() | {f"{kind}_port": free_port() for kind in PORTS})
    program = next(each for each in programs.all_programs(settings) if each.name == name)
    (tmp_path / "prometheus.yml").write_text("scrape_configs: []\n")
    process = started(program.command, tmp_path / "log", **program.environment)
    try:
        wait_until(
            lambda: (answer := get(program.health)) and answer.is_success, f"{name} answers", 30
        )
        if name == "pushgateway":
            httpx.post(f"{program.address}/metrics/job/a", content="a 1\n", trust_env=False)
        gives_as_listed(f"{program.address}/metrics", EXPORTERS[name])
    finally:
        end(process)


def test_the_object_store_gives_its_metrics_under_their_listed_names(tmp_path):
    settings = StackSettings(readmit_home=tmp_path, s3_port=free_port(S3_OFFSETS), s3_metrics_port=free_port(),
                             aws_secret_access_key=secrets.token_hex(8))  # fmt: skip
    store = programs.store(settings)
    process = store.start(identities({"admin": storage.keys("admin", settings)}))
    try:
        storage.ensure_buckets(settings)
        url = f"http://127.0.0.1:{settings.s3_metrics_port}/metrics"
        wait_until(
            lambda: "SeaweedFS_volumeServer_resource{" in get(url).text, "the disk is measured", 60
        )
        gives_as_listed(url, ("SeaweedFS_",))
    finally:
        end(process)
        store.tidy()


def gives_as_listed(url, prefix):
    """Hold what an endpoint shows against the part of the list whose names begin so."""
    shown = {found.name: found for found in text_string_to_metric_families(get(url).text)}
    wanted = [metric for metric in PLATFORM if metric.name.startswith(prefix)]
    assert wanted
    for metric in wanted:
        name = metric.name.removesuffix("_total")
        assert name in shown, metric.name
        given = {label for each in shown[name].samples for label in each.labels}
        assert {label for label in metric.labels if label not in ("instance", "job")} <= given, (
            metric.name
        )
