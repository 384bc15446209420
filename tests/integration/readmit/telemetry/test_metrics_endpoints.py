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
from tests.support.services import (
    NO_AUTHORITIES,
    S3_OFFSETS,
    end,
    free_port,
    fresh,
    wait_until,
)
from tests.support.serving import ROW

WORKERS = 2


def get(url):
    try:
        return httpx.get(url, trust_env=False, timeout=5, verify=NO_AUTHORITIES)
    except httpx.TransportError:
        return None


def started(command, log, **variables):
    with log.open("wb") as file:
        return subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=file, env={**os.environ, **variables}
        )


@pytest.fixture
def api(tmp_path):
    """The API with two workers, each with a model; yields its address and the workers' folder."""
    with running(tmp_path, WORKERS) as (url, _):
        yield url, tmp_path / "together"


def metric_families(url):
    """Return the metrics that an endpoint shows, by name."""
    families = text_string_to_metric_families(get(url).text)
    return {family.name: family for family in families}


def total(url, name, **labels):
    """Return the sum of a metric of the API over its samples with these labels."""
    result = 0
    for family in metric_families(f"{url}/metrics").values():
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                result += sample.value
    return result


def predict(url):
    options = {"trust_env": False, "timeout": 30, "verify": NO_AUTHORITIES}
    return httpx.post(f"{url}/predict", json=ROW, **options).status_code


def test_two_workers_show_the_list_and_count_as_one(api):
    url, folder = api
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(predict, [url] * 200)) == {200}
    assert httpx.post(f"{url}/predict", json={}, trust_env=False).status_code == 422
    shown = metric_families(f"{url}/metrics")
    listed = {metric.name.removesuffix("_total"): metric for metric in API}
    # This API has neither a shadow version nor a database with histories.
    used = {name for name in listed if "shadow" not in name} - {"readmit_history_lookups"}
    assert used <= set(shown) <= set(listed)
    for name, family in shown.items():
        assert family.type == listed[name].kind.value, name
        extra = set()
        if listed[name].kind is Kind.HISTOGRAM:
            extra = {"le"}
        for sample in family.samples:
            assert set(sample.labels) - extra == set(listed[name].labels), name
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

    def is_replaced():
        pids = processes(folder)
        return len(pids) == WORKERS and victim not in pids

    def are_ready():
        return all(ready(url) for _ in range(10))

    wait_until(is_replaced, "a new worker", 60)
    wait_until(are_ready, "it has a model", 60)
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


INSTALLED = [name for name in EXPORTERS if shutil.which(name) or shutil.which(f"prometheus-{name}")]


@pytest.mark.parametrize("name", INSTALLED)
def test_platform_metrics_have_their_listed_names(name, tmp_path):
    if name == "postgres-exporter":
        values = fresh(tmp_path).model_dump()
    else:
        values = StackSettings(readmit_home=tmp_path).model_dump()
    for kind in PORTS:
        values[f"{kind}_port"] = free_port()
    settings = StackSettings(**values)
    program = programs.find(name, settings)
    (tmp_path / "prometheus.yml").write_text("scrape_configs: []\n")
    process = started(program.command, tmp_path / "log", **program.environment)

    def is_healthy():
        response = get(program.health)
        return response is not None and response.is_success

    try:
        wait_until(is_healthy, f"{name} answers", 30)
        if name == "pushgateway":
            httpx.post(f"{program.address}/metrics/job/a", content="a 1\n", trust_env=False)
        check_against_the_list(f"{program.address}/metrics", EXPORTERS[name])
    finally:
        end(process)


def test_metrics_of_the_object_store_have_their_listed_names(tmp_path):
    settings = StackSettings(
        readmit_home=tmp_path,
        s3_port=free_port(S3_OFFSETS),
        s3_metrics_port=free_port(),
        aws_secret_access_key=secrets.token_hex(8),
    )
    store = programs.store(settings)
    process = store.start(identities({"admin": storage.keys("admin", settings)}))
    try:
        storage.ensure_buckets(settings)
        # Before the first object it has no volume.
        storage.client("admin", settings).put_object(
            Bucket=settings.s3_pipeline_bucket, Key="first", Body=b"object"
        )
        url = f"http://127.0.0.1:{settings.s3_metrics_port}/metrics"

        def are_disk_and_volumes_measured():
            text = get(url).text
            return "volumeServer_resource{" in text and "volumeServer_volumes{" in text

        wait_until(are_disk_and_volumes_measured, "disk and volumes are measured", 60)
        check_against_the_list(url, ("SeaweedFS_",))
    finally:
        end(process)
        store.tidy()


def check_against_the_list(url, prefix):
    """Check that an endpoint shows the listed metrics whose names begin so, with their labels."""
    shown = metric_families(url)
    listed = [metric for metric in PLATFORM if metric.name.startswith(prefix)]
    assert listed
    for metric in listed:
        name = metric.name.removesuffix("_total")
        assert name in shown, metric.name
        labels = set()
        for sample in shown[name].samples:
            labels.update(sample.labels)
        assert set(metric.labels) - {"instance", "job"} <= labels, metric.name
