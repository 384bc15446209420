"""A real Prometheus with the stack's configuration scrapes its targets and fires an alert."""

import itertools
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import httpx
import psycopg2.errors
import pytest

from k8s import dashboards
from readmit import db
from readmit.settings import ROOT, StackSettings
from readmit.telemetry import pushgateway
from readmit.telemetry.metrics import METRICS_BY_JOB, Job
from stack import configuration, programs
from tests.support import raw
from tests.support.services import end, free_port, wait_until
from tests.support.serving import ROW

needed = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("prometheus-pushgateway")),
    reason="prometheus is not installed",
)


@contextmanager
def running(name, command, folder, **variables):
    """Run a command, which writes its log into a folder."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=log, env=os.environ | variables
        )
        try:
            yield
        finally:
            end(process)


@pytest.fixture(scope="module")
def api_port(tmp_path_factory):
    """The port of an API, whose tests only let it predict."""
    home = tmp_path_factory.mktemp("api")
    port = free_port()
    app = ("uvicorn", "tests.support.metrics_app:create", "--factory")
    command = (sys.executable, "-m", *app, "--port", str(port), "--log-level", "warning")
    with running("api", command, home, METRICS_APP_HOME=str(home), PYTHONPATH=str(ROOT)):
        yield port


@pytest.fixture
def stack(api_port, tmp_path):
    """Prometheus and Pushgateway as the supervisor starts them, on free ports, beside the API."""
    names = ("prometheus", "pushgateway", "s3_metrics")  # of the last nobody listens
    ports = {f"{name}_port": free_port() for name in names}
    settings = StackSettings(**ports, api_port=api_port, readmit_home=tmp_path)
    listed = [programs.find(name, settings) for name in ("prometheus", "pushgateway")]
    text = configuration.prometheus_configuration(settings, listed)
    (tmp_path / "prometheus.yml").write_text(text.replace("15s", "1s").replace("10s", "1s"))
    with ExitStack() as programs_running:
        for program in listed:
            programs_running.enter_context(running(program.name, program.command, tmp_path))
        yield settings


def get(settings, path, **parameters):
    try:
        url = f"http://127.0.0.1:{settings.prometheus_port}/api/v1/{path}"
        return httpx.get(url, params=parameters, trust_env=False).json().get("data")
    except (httpx.TransportError, ValueError):
        return None


def values(settings, query):
    """Return {label values: value} of an instant query."""
    data = get(settings, "query", query=query)
    if not data:
        return {}
    return {tuple(row["metric"].values()): float(row["value"][1]) for row in data["result"]}


FIRING = 'ALERTS{alertname="BatchRejected", alertstate="firing"}'


def has(settings, query, is_wanted):
    return bool(values(settings, query)) == is_wanted


def wait_for_three_targets(stack):
    wait_until(lambda: len(values(stack, "up == 1")) >= 3, "three targets are up", 60)


@needed
def test_targets_are_reached_rules_are_loaded_and_a_rejected_batch_raises_an_alert(stack):
    wait_for_three_targets(stack)
    jobs = {target["labels"]["job"] for target in get(stack, "targets")["activeTargets"]}
    # Exporters that do not run have no job.
    assert jobs == {"api", "prometheus", "pushgateway", "s3"}
    rules = []
    for group in get(stack, "rules")["groups"]:
        rules += group["rules"]
    assert len(rules) > 30
    model = partial(values, stack, 'readmit_model{job="api"} == 1')
    wait_until(model, "the API shows its model", 30)
    url = f"http://127.0.0.1:{stack.pushgateway_port}"
    settings = stack.model_copy(update={"pushgateway_url": url})
    for n in (0, 1, 0):
        pushgateway.report(Job.INGEST, partial(dict, readmit_batches={"rejected": n}), settings)
        wait_until(
            partial(has, stack, f'readmit_batches{{status="rejected"}} == {n}', True),
            f"{n} is scraped",
            30,
        )
        wait_until(partial(has, stack, FIRING, n > 0), f"the alert with {n} rejected", 30)
    # The job of what was pushed is the job's, not the Pushgateway's.
    assert values(stack, "count by (job) (readmit_batches)") == {("ingest_batch",): 1}
    for rule in rules:
        assert rule["health"] != "err", rule["name"]


# The label values that panels query; the other labels have the value `any`.
LABELS = {
    "metric": ("auroc", "average_precision"),
    "dag": ("ingest_batch", "train_model"),
    "decision": ("promote",),
    "status": ("published", "waiting", "rejected"),
    "outcome": ("warned",),
}
PANELS = list(itertools.chain.from_iterable(board.panels for board in dashboards.read()))
SQL = [panel for panel in PANELS if panel.is_sql]
# Metrics of exporters that a test machine may not have.
OPTIONAL = ("node_", "pg_", "probe_", "SeaweedFS_")
# Metrics that the API of this test does not report: it has no database and no shadow version.
UNREPORTED = ("readmit_history_lookups_total", "readmit_shadow_comparisons_total")


def every_figure(job):
    """Return a value for every metric of a job and every label value that a panel queries."""
    figures = {}
    for metric in METRICS_BY_JOB[job]:
        choices = [LABELS.get(label, ("any",)) for label in metric.labels]
        values = itertools.product(*choices)
        figures[metric.name] = dict.fromkeys(values, 1.0)
    return figures


def answered(settings, query):
    url = f"http://127.0.0.1:{settings.prometheus_port}/api/v1/query"
    response = httpx.get(url, params={"query": query}, trust_env=False).json()
    assert response["status"] == "success", (query, response)
    return response["data"]["result"]


def promql():
    """Return the PromQL queries of all panels."""
    queries = []
    for panel in PANELS:
        if not panel.is_sql:
            queries += panel.queries.values()
    return queries


def unanswered(settings):
    """Return the panels' queries without a result."""
    queries = []
    for query in promql():
        is_reported = not any(name in query for name in OPTIONAL + UNREPORTED)
        if is_reported and not answered(settings, query):
            queries.append(query)
    return queries


@needed
def test_every_panel_has_something_to_show(stack):
    wait_for_three_targets(stack)
    settings = stack.model_copy(
        update={"pushgateway_url": f"http://127.0.0.1:{stack.pushgateway_port}"}
    )
    for job in set(Job) - {Job.API, Job.PLATFORM}:
        pushgateway.report(job, partial(every_figure, job), settings)

    def has_data() -> bool:
        """Predict and look: a rate needs requests between two scrapes."""
        for _ in range(20):
            url = f"http://127.0.0.1:{stack.api_port}/predict"
            response = httpx.post(url, json=ROW, trust_env=False)
            assert response.is_success, response.text
        return not unanswered(stack)

    with suppress(AssertionError):  # the assertion below shows the queries
        wait_until(has_data, "every panel has data", 60, pause=1)
    assert unanswered(stack) == []
    for query in promql():
        answered(stack, query)


def test_every_table_can_be_read_by_the_reader(tmp_path):
    settings = raw.fresh(tmp_path)
    with (
        db.transaction("postgres", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "insert into ops.published_batches (build_id, batch_id, kind)"
            " values ('b', 'b', 'batch')"
        )
        cur.execute(
            "insert into ops.promotions (decision, model_name, metric, actor, reason)"
            " values ('promote', 'm', 'auroc', 'me', 'first')"
        )
        cur.execute(
            "insert into ops.monitor_reports"
            " (model_name, model_version, n_requests, verdict, evidence)"
            " values ('m', '1', 10, 'too few', '{}')"
        )
    raw.query(
        settings,
        settings.raw_database,
        "insert into landing.batches"
        " (batch_id, split, ordinal, n_rows, source_sha256, data_source, status, reason)"
        " values ('b2', 'train', 1, 500, 's', 'sample', 'rejected', 'ages outside the bands')",
    )
    for panel in SQL:
        statement = panel.queries["sql"]
        rows = raw.query(settings, settings.clean_database, statement, role="reader")
        assert len(rows) == 1, panel.title
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        raw.query(settings, settings.clean_database, "delete from ops.promotions", role="reader")
