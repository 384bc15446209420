"""The list of all metrics: name, type, labels, unit, meaning, and the job that reports it.

The API creates its metrics from this list, and jobs can push no others (`pushgateway`).
Tests compare rules, dashboards and real endpoints with it. The page is generated:
`python -m readmit.telemetry.metrics > docs/metrics.md`.
"""

import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Kind(StrEnum):
    """The type of a metric, as Prometheus names it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


Across = Literal["livemin", "livemax", "livesum"]


class Job(StrEnum):
    """The job that reports a metric: the value of Prometheus' label `job`."""

    API = "api"
    TASKS = "tasks"
    INGEST = "ingest_batch"
    TRAINING = "train_model"
    MONITOR = "monitor_model"
    BACKUP = "backup"
    LOAD_TEST = "load_test"
    PLATFORM = "platform"


@dataclass(frozen=True)
class Metric:
    """One metric.

    `name` is the name in Prometheus; that of a histogram lacks `_bucket`, `_sum` and `_count`.
    `across` says how the values of the API's workers are combined: a mode of prometheus_client, for
    gauges only.
    """

    kind: Kind
    name: str
    labels: tuple[str, ...]
    unit: str
    meaning: str
    buckets: tuple[float, ...] = ()
    across: Across | None = None


# 0.25 s is the objective of the API; the buckets around it make the share below it exact.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
RISKS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0)
DIFFERENCES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def _counter(name: str, labels: str, unit: str, meaning: str) -> Metric:
    return Metric(Kind.COUNTER, name, tuple(labels.split()), unit, meaning)


def _gauge(name: str, labels: str, unit: str, meaning: str, across: Across | None = None) -> Metric:
    return Metric(Kind.GAUGE, name, tuple(labels.split()), unit, meaning, across=across)


def _histogram(
    name: str, labels: str, unit: str, meaning: str, buckets: tuple[float, ...]
) -> Metric:
    return Metric(Kind.HISTOGRAM, name, tuple(labels.split()), unit, meaning, buckets)


API = (
    _counter("readmit_requests_total", "route method status", "requests", "answered requests"),
    _histogram("readmit_request_seconds", "route", "seconds",
               "time from request to answer", SECONDS),
    _gauge("readmit_requests_in_flight", "", "requests",
           "requests that are being answered now", "livesum"),
    _gauge("readmit_started_timestamp_seconds", "", "unix time",
           "when the youngest worker started", "livemax"),
    _gauge("readmit_worker_memory_bytes", "", "bytes",
           "resident memory of the workers, as of the last check of the registry", "livesum"),
    _counter("readmit_worker_cpu_seconds_total", "", "seconds",
             "CPU time of the workers, as of the last check of the registry"),
    _counter("readmit_predictions_total", "version risk history", "predictions",
             "predictions by model version, risk (high, low) and source of the history: given,"
             " looked_up, assumed_first_stay, unavailable"),
    _histogram("readmit_score", "version", "probability", "predicted risk", RISKS),
    _gauge("readmit_model", "version run_id", "0 or 1",
           "1 for the version that is served, 0 for earlier versions", "livemax"),
    _gauge("readmit_model_promoted_timestamp_seconds", "", "unix time",
           "when the served version was promoted", "livemax"),
    _counter("readmit_model_swaps_total", "", "swaps",
           "times that another version was loaded, per worker"),
    _counter("readmit_model_refusals_total", "", "refusals",
             "times that a version was refused, per worker; the last good version stays in use"),
    _gauge("readmit_model_unbacked", "", "0 or 1",
           "1 while the alias names a version that no signed decision backs", "livemax"),
    _gauge("readmit_model_refused", "", "0 or 1",
           "1 while the registry's version is refused", "livemax"),
    _gauge("readmit_registry_up", "", "0 or 1",
           "1 when the last query to the registry succeeded", "livemin"),
    _counter("readmit_history_lookups_total", "outcome", "look-ups",
             "look-ups of patient history: found, none, failed (the answer says unavailable)"),
    _counter("readmit_log_written_total", "", "predictions", "predictions written to Postgres"),
    _counter("readmit_log_lost_total", "", "predictions", "predictions that could not be logged"),
    _gauge("readmit_log_waiting", "", "predictions",
           "predictions that wait for Postgres", "livesum"),
    _gauge("readmit_log_emptied_timestamp_seconds", "", "unix time",
           "when no prediction waited for Postgres: no waiting one is older", "livemin"),
    _counter("readmit_shadow_comparisons_total", "version outcome", "predictions",
             "predictions repeated by a shadow version: agree, disagree (on the risk) or failed"),
    _histogram("readmit_shadow_score_difference", "version", "probability",
               "absolute difference between the shadow's and the served score", DIFFERENCES),
)  # fmt: skip

TASKS = (
    _gauge("readmit_task_seconds", "dag task", "seconds", "duration of the task's last try"),
    _gauge("readmit_task_succeeded", "dag task", "0 or 1", "whether the task's last try succeeded"),
    _gauge("readmit_task_finished_timestamp_seconds", "dag task", "unix time",
           "when the task's last try ended"),
)  # fmt: skip

INGEST = (
    _gauge("readmit_batch_rows", "outcome", "rows",
           "rows of the batch published last: arrived, features, quarantined, excluded;"
           " arrived is the sum of the others"),
    _gauge("readmit_batch_seconds", "", "seconds",
           "time of the last batch from its load to its publication"),
    _gauge("readmit_gate_passed", "gate", "0 or 1",
           "verdict of the gate (raw, publish) on its last batch"),
    _gauge("readmit_gate_checks", "gate outcome", "checks",
           "checks of the gate on its last batch: passed, warned, failed"),
    _gauge("readmit_batches", "status", "batches",
           "batches in the ledger: waiting, claimed, loaded, published, rejected, superseded,"
           " refused"),
    _gauge("readmit_quarantined_rows", "", "rows", "rows of published batches that are held back"),
    _gauge("readmit_source_rows", "outcome", "rows",
           "rows of the file registered last: known (an earlier file brought them), changed (other"
           " values than the same stay has), sliced (they make its batches)"),
    _gauge("readmit_proposals", "", "rows", "changed rows that nobody has accepted or dismissed"),
    _gauge("readmit_data_published_timestamp_seconds", "", "unix time",
           "when data was last published"),
)  # fmt: skip

TRAINING = (
    _gauge("readmit_training_rows", "split", "rows", "rows of the last snapshot by split"),
    _gauge("readmit_training_seconds", "candidate", "seconds",
           "time to fit and evaluate a candidate"),
    _gauge("readmit_training_score", "candidate metric", "score",
           "metrics of a candidate on the validation rows: auroc, average_precision, brier, ece"
           " and others"),
    _gauge("readmit_slices_behind", "candidate", "slices",
           "groups of patients that a candidate ranks worse than all validation rows, by the whole"
           " 95 % interval"),
    _gauge("readmit_promotion_decision", "decision", "0 or 1",
           "1 for the last decision: promote, keep or rollback"),
    _gauge("readmit_promotion_auroc", "side", "score",
           "AUROC that the last decision compared: challenger, production"),
    _gauge("readmit_promotion_gain", "bound", "score",
           "gain in AUROC of the last challenger: estimate, low, high (95 % interval)"),
    _gauge("readmit_decided_timestamp_seconds", "", "unix time",
           "when the last decision was made"),
    _gauge("readmit_model_data_timestamp_seconds", "", "unix time",
           "when the newest batch that the model in production learned from was published"),
    _gauge("readmit_sealed_score", "metric", "score",
           "metrics of the version promoted last on the sealed test, by the same names"),
)  # fmt: skip

MONITOR = (
    _gauge("readmit_monitored_rows", "window", "rows",
           "rows compared: reference (training snapshot) and current (requests)"),
    _gauge("readmit_feature_drift", "feature", "distance",
           "distance of a feature's requests from the training snapshot, 0 means equal"
           " (docs/monitoring.md)"),
    _gauge("readmit_feature_drifted", "feature", "0 or 1",
           "1 when the distance is beyond what chance and the stated effect size allow"),
    _gauge("readmit_drifted_features", "", "features", "number of drifted features"),
    _gauge("readmit_drift_threshold", "", "distance",
           "distance from which a feature counts as drifted"),
    _gauge("readmit_score_drift", "", "distance",
           "distance of the scores from those of the snapshot"),
    _gauge("readmit_score_drifted", "", "0 or 1", "1 when the scores have drifted"),
    _gauge("readmit_drift_detected", "", "0 or 1",
           "the verdict: 1 calls for an inspection, or for training"),
    _gauge("readmit_realised_labels", "", "stays", "predictions whose outcome is known"),
    _gauge("readmit_realised_auroc", "bound", "score",
           "AUROC on predictions with known outcome: estimate, low, high (95 % interval)"),
    _gauge("readmit_realised_ap", "bound", "score",
           "average precision on predictions with known outcome: estimate, low, high"
           " (95 % interval)"),
    _gauge("readmit_realised_rate", "", "share", "share of known outcomes that are readmissions"),
    _gauge("readmit_predicted_rate", "", "share",
           "mean score of the predictions with known outcome"),
    _gauge("readmit_monitored_timestamp_seconds", "", "unix time", "when the monitor last ran"),
)  # fmt: skip

BACKUP = (
    _gauge(
        "readmit_backup_finished_timestamp_seconds",
        "",
        "unix time",
        "when the last backup was complete",
    ),
)

LOAD_TEST = (
    _gauge("readmit_capacity_users", "workers", "users",
           "maximum of users within the objective by `make capacity`, by workers of the API"),
    _gauge("readmit_capacity_is_lower_bound", "workers", "0 or 1",
           "1 when generator or machine had no CPU left: the maximum is at least that number"),
    _gauge("readmit_capacity_requests_per_second", "workers", "requests/s", "rate at the maximum"),
    _gauge("readmit_capacity_p95_seconds", "workers", "seconds", "95th percentile at the maximum"),
    _gauge("readmit_capacity_cpu_seconds_per_request", "workers", "seconds",
           "CPU of the API per request at the maximum"),
)  # fmt: skip

# The exporters of the platform report many more. Rules and dashboards use these.
PLATFORM = (
    _gauge("up", "job instance", "0 or 1", "whether Prometheus reached a target"),
    _gauge("ALERTS", "alertname alertstate severity", "0 or 1",
           "alerts, reported by Prometheus itself"),
    _gauge("process_start_time_seconds", "job instance", "unix time", "when a process started"),
    _gauge("process_resident_memory_bytes", "job instance", "bytes", "memory of a process"),
    _counter("process_cpu_seconds_total", "job instance", "seconds", "CPU time of a process"),
    _gauge("push_time_seconds", "job", "unix time", "when a group was last pushed (Pushgateway)"),
    _gauge("probe_success", "job instance", "0 or 1", "whether a component's health check passed"),
    _counter("node_cpu_seconds_total", "instance cpu mode", "seconds", "CPU time by mode"),
    _gauge("node_memory_MemAvailable_bytes", "instance", "bytes", "memory available to programs"),
    _gauge("node_memory_MemTotal_bytes", "instance", "bytes", "memory of the machine"),
    _gauge("node_filesystem_avail_bytes", "instance mountpoint fstype", "bytes", "free disk"),
    _gauge("node_filesystem_size_bytes", "instance mountpoint fstype", "bytes", "size of a disk"),
    _gauge("SeaweedFS_volumeServer_resource", "name type", "bytes",
           "disk below the object store: all, used, free"),
    _gauge("SeaweedFS_volumeServer_volumes", "collection type", "volumes",
           "volumes of the object store, files of 512 MB at most"),
    _gauge("SeaweedFS_volumeServer_max_volumes", "", "volumes", "volumes that it may have"),
    _counter("SeaweedFS_s3_request_total", "type code bucket", "requests",
           "requests to the object store"),
    _gauge("pg_up", "instance", "0 or 1", "whether the exporter reached Postgres"),
    _gauge("pg_database_size_bytes", "datname", "bytes", "size of a database"),
    _gauge("pg_stat_database_numbackends", "datname", "sessions",
           "sessions of a database, of all roles"),
    _gauge("pg_settings_max_connections", "server", "sessions", "sessions that Postgres allows"),
    _counter("pg_stat_database_xact_commit", "datname", "transactions", "committed transactions"),
    _counter("pg_stat_database_xact_rollback", "datname", "transactions",
           "transactions rolled back"),
    _counter("pg_stat_database_deadlocks", "datname", "deadlocks", "deadlocks"),
)  # fmt: skip

METRICS_BY_JOB: dict[Job, tuple[Metric, ...]] = {
    Job.API: API,
    Job.TASKS: TASKS,
    Job.INGEST: INGEST,
    Job.TRAINING: TRAINING,
    Job.MONITOR: MONITOR,
    Job.BACKUP: BACKUP,
    Job.LOAD_TEST: LOAD_TEST,
    Job.PLATFORM: PLATFORM,
}
METRICS = {metric.name: metric for metrics in METRICS_BY_JOB.values() for metric in metrics}
TITLES = {
    Job.API: "API (`/metrics`, the sum of all workers)",
    Job.TASKS: "Tasks of every DAG (pushed, job `tasks`)",
    Job.INGEST: "Batches (pushed, job `ingest_batch`)",
    Job.TRAINING: "Training and promotion (pushed, job `train_model`)",
    Job.MONITOR: "Drift and late labels (pushed, job `monitor_model`)",
    Job.BACKUP: "Backups (pushed, job `backup`)",
    Job.LOAD_TEST: "Capacity (pushed by `make capacity`, job `load_test`)",
    Job.PLATFORM: "Platform (Prometheus, its exporters, Pushgateway)",
}


def series(metric: Metric) -> tuple[str, ...]:
    """Return the names of the series that Prometheus stores for a metric."""
    if metric.kind is Kind.HISTOGRAM:
        return tuple(metric.name + suffix for suffix in ("_bucket", "_sum", "_count"))
    return (metric.name,)


def page() -> str:
    """Return the list as Markdown: one table per job."""
    lines = [
        "# Metrics",
        "",
        "For whoever writes an alert, a panel or a query. Afterwards you can name the metric and"
        " its labels.",
        "",
        "Generated from `readmit/telemetry/metrics.py`. Do not edit:",
        "`python -m readmit.telemetry.metrics > docs/metrics.md`.",
        "",
        "Rules and dashboards use only these names.",
        "Of a histogram Prometheus stores `_bucket`, `_sum` and `_count`.",
        "No label contains an id of a patient, a request or a batch.",
    ]
    for job, title in TITLES.items():
        lines += [
            "",
            f"## {title}",
            "",
            "| metric | type | labels | unit | meaning |",
            "|---|---|---|---|---|",
        ]
        for metric in METRICS_BY_JOB[job]:
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            cells = (f"`{metric.name}`", metric.kind, labels, metric.unit, metric.meaning)
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
