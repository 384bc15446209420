"""The list of metrics: complete, bounded, and the page made from it is current."""

import re
from pathlib import Path

from readmit.intake import header_problems
from readmit.settings import Settings
from readmit.telemetry.metrics import API, METRICS, METRICS_BY_JOB, Job, Kind, page, series

ROOT = Path(__file__).resolve().parents[4]
OWN = []
for job, metrics in METRICS_BY_JOB.items():
    if job is not Job.PLATFORM:
        OWN += metrics
UNBOUNDED = {
    "batch_id",
    "encounter_id",
    "patient_nbr",
    "request_id",
    "correlation_id",
    "path",
    "url",
    "user",
    "error",
}


def test_the_page_is_current():
    assert (ROOT / "docs" / "metrics.md").read_text() == page(), (
        "python -m readmit.telemetry.metrics > docs/metrics.md"
    )


def test_names_are_unique_and_follow_prometheus_conventions():
    assert len(METRICS) == sum(map(len, METRICS_BY_JOB.values()))
    for metric in OWN:
        assert re.fullmatch(r"readmit_[a-z][a-z0-9_]*", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric.name
        assert metric.unit != "seconds" or metric.name.removesuffix("_total").endswith(
            ("_seconds", "_per_request")
        ), metric.name
        assert metric.unit != "unix time" or metric.name.endswith("_timestamp_seconds"), metric.name


def test_each_has_a_meaning_and_no_label_grows_with_the_data():
    for metric in METRICS.values():
        assert metric.meaning, metric.name
        assert metric.unit, metric.name
        assert not UNBOUNDED & set(metric.labels), metric.name


def test_jobs_push_gauges_and_the_api_says_how_workers_become_one_figure():
    for job, metrics in METRICS_BY_JOB.items():
        if job not in (Job.API, Job.PLATFORM):
            assert {metric.kind for metric in metrics} == {Kind.GAUGE}, job
    for metric in API:
        assert bool(metric.across) == (metric.kind is Kind.GAUGE), metric.name
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM), metric.name


def test_the_objective_is_an_edge_of_a_bucket():
    assert 0.25 in METRICS["readmit_request_seconds"].buckets
    assert series(METRICS["readmit_request_seconds"])[0] == "readmit_request_seconds_bucket"


def setting_names(settings_class):
    """Return the fields of a settings class and of all classes below it."""
    names = set(settings_class.model_fields)
    for below in settings_class.__subclasses__():
        names |= setting_names(below)
    return names


def test_code_names_listed_metrics_only():
    """Names in our Python are of the list, or settings, or columns of other tables."""
    listed = METRICS.keys() | setting_names(Settings) | header_problems.OTHER_TABLES.keys()
    for folder in ("serving", "training", "expectations", "dags", "readmit", "locust"):
        for path in (ROOT / folder).rglob("*.py"):
            for name in re.findall(r'"(readmit_[a-z0-9_]+)"', path.read_text()):
                assert name in listed, f"{path.relative_to(ROOT)}: {name}"


CODE = ("serving", "training", "expectations", "dags", "readmit", "locust")
RULES_AND_PANELS = ("k8s/components/monitoring/rules", "k8s/components/grafana/dashboards")


def mentioned(*folders):
    """Return every word of the Python, YAML and JSON in these folders, the list itself left out."""
    list_of_metrics = ROOT / "readmit" / "telemetry" / "metrics.py"
    words = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.*"):
            if path.suffix in (".py", ".yml", ".json") and path != list_of_metrics:
                words.update(re.findall(r"\w+", path.read_text()))
    return words


def test_every_metric_of_the_list_is_set_by_our_code():
    assert {metric.name for metric in OWN} - mentioned(*CODE) == set()


def test_every_metric_of_an_exporter_is_used_by_a_rule_or_a_panel():
    listed = {metric.name for metric in METRICS_BY_JOB[Job.PLATFORM]}
    assert listed - mentioned(*RULES_AND_PANELS) == set()
