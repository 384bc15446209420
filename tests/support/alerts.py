"""Values at which each alert must fire, and close ones at which it must not, for promtool."""

from dataclasses import dataclass

DAY = 86_400
UP = 'up{job="api",instance="a:8000"}'
ASKED = 'readmit_requests_total{job="api",route="/predict",method="POST",status="200"}'
FAILED = 'readmit_requests_total{job="api",route="/predict",method="POST",status="500"}'
PROBED = 'readmit_requests_total{job="api",route="/readyz",method="GET",status="503"}'
IN_TIME = 'readmit_request_seconds_bucket{job="api",route="/predict",le="0.25"}'
ALL = 'readmit_request_seconds_bucket{job="api",route="/predict",le="+Inf"}'
COUNT = 'readmit_request_seconds_count{job="api",route="/predict"}'
LOOKUPS = 'readmit_history_lookups_total{job="api"'
DISK = '{instance="n",device="/dev/sda1",mountpoint="/",fstype="ext4"}'
TMPFS = '{instance="n",device="tmpfs",mountpoint="/run",fstype="tmpfs"}'
PUSHED = '{job="ingest_batch"}'


@dataclass(frozen=True)
class Case:
    """Series by name, as values over minutes.

    `after` is the time at which the alert must have been decided.
    """

    alert: str
    after: str
    fires: dict[str, str]
    silent: dict[str, str]
    absent: bool = False  # whether it fires when there are no values at all


def steady(value: float, minutes: int = 600) -> str:
    return f"{value}x{minutes}"


def rising(step: float, minutes: int = 600) -> str:
    return f"0+{step}x{minutes}"


def latency(slow: float, per_minute: int = 60) -> dict[str, str]:
    """A steady load of which a share is slow."""
    return {
        IN_TIME: rising(per_minute * (1 - slow)),
        ALL: rising(per_minute),
        COUNT: rising(per_minute),
    }


def errors(share: float, per_minute: int = 6000) -> dict[str, str]:
    """A steady load of which a share fails."""
    return {ASKED: rising(per_minute * (1 - share)), FAILED: rising(per_minute * share)}


def one(series: str, fires: float, silent: float) -> tuple[dict[str, str], dict[str, str]]:
    return {series: steady(fires)}, {series: steady(silent)}


CASES = (
    Case(
        "ApiDown",
        "2m",
        {UP: steady(0)},
        {UP: steady(0), 'up{job="api",instance="b:8000"}': steady(1)},
        absent=True,
    ),
    Case("ApiErrorBudgetBurnsFast", "70m", errors(0.02), errors(0.004) | {PROBED: rising(600)}),
    Case("ApiErrorBudgetBurnsFast", "8h", errors(0.008), errors(0.005)),
    Case(
        "ApiErrorBudgetBurnsFast", "70m", errors(0.02), {ASKED: rising(0.5), FAILED: rising(0.5)}
    ),  # 70 requests
    Case("ApiErrorBudgetBurnsSlowly", "8h", errors(0.0012), errors(0.0008)),
    Case("ApiLatencyBudgetBurnsFast", "70m", latency(0.8), latency(0.1)),
    Case("ApiLatencyBudgetBurnsFast", "8h", latency(0.35), latency(0.25)),
    Case("ApiLatencyBudgetBurnsSlowly", "8h", latency(0.06), latency(0.04)),
    Case(
        "NoProductionModel",
        "20m",
        {UP: steady(1), 'readmit_model{job="api",version="1"}': steady(0)},
        {UP: steady(1), 'readmit_model{job="api",version="2"}': steady(1)},
    ),
    Case("NoProductionModel", "20m", {UP: steady(1)}, {UP: steady(0)}),
    Case("ModelRefused", "3m", *one('readmit_model_refused{job="api"}', 1, 0)),
    Case("ModelNotBacked", "8m", *one('readmit_model_unbacked{job="api"}', 1, 0)),
    Case("RegistryUnreachable", "15m", *one('readmit_registry_up{job="api"}', 0, 1)),
    Case(
        "HistoryUnavailable",
        "30m",
        {f'{LOOKUPS},outcome="failed"}}': rising(2), f'{LOOKUPS},outcome="found"}}': rising(20)},
        {f'{LOOKUPS},outcome="failed"}}': rising(0.5), f'{LOOKUPS},outcome="found"}}': rising(20)},
    ),
    Case(
        "HistoryUnavailable",
        "30m",
        {f'{LOOKUPS},outcome="failed"}}': rising(2)},
        {f'{LOOKUPS},outcome="failed"}}': rising(1)},
    ),
    Case(
        "PredictionsNotLogged",
        "20m",
        {'readmit_log_lost_total{job="api"}': "0x10 5x20"},
        {'readmit_log_lost_total{job="api"}': steady(7)},
    ),
    Case(
        "PredictionsWaitForLog",
        "8m",
        *one('readmit_log_emptied_timestamp_seconds{job="api"}', -60, 420),
    ),
    Case(
        "BatchRejected",
        "2m",
        {'readmit_batches{job="ingest_batch",status="rejected"}': steady(1)},
        {
            'readmit_batches{job="ingest_batch",status="rejected"}': steady(0),
            'readmit_batches{job="ingest_batch",status="superseded"}': steady(1),
        },
    ),
    Case(
        "FileRefused",
        "30m",
        {'readmit_batches{status="refused"}': "0x10 1x60"},
        {'readmit_batches{status="refused"}': steady(1)},
    ),
    Case(
        "DataTooOld",
        "2m",
        *one(f"readmit_data_published_timestamp_seconds{PUSHED}", -31 * DAY, -29 * DAY),
    ),
    Case(
        "PipelineSilent",
        "200m",
        {f"push_time_seconds{PUSHED}": steady(0)},
        {f"push_time_seconds{PUSHED}": rising(60)},
    ),
    Case("TaskFailed", "20m", *one('readmit_task_succeeded{job="tasks",dag="d",task="t"}', 0, 1)),
    Case(
        "TaskFailed",
        "20m",
        {'readmit_task_succeeded{job="tasks",dag="d",task="t"}': steady(0)},
        {'readmit_task_succeeded{job="tasks",dag="d",task="t"}': "0x12 1x20"},  # a retry succeeded
    ),
    Case(
        "ModelTooOld",
        "2m",
        *one('readmit_model_promoted_timestamp_seconds{job="api"}', -91 * DAY, -89 * DAY),
    ),
    Case(
        "ModelTooOld",
        "2m",
        *one('readmit_model_promoted_timestamp_seconds{job="api"}', -91 * DAY, 0),
    ),  # 0: no model
    Case("DriftDetected", "2m", *one('readmit_drift_detected{job="monitor_model"}', 1, 0)),
    Case(
        "RealisedPerformanceLow",
        "2m",
        {'readmit_realised_auroc{bound="high"}': steady(0.58)},
        {
            'readmit_realised_auroc{bound="high"}': steady(0.63),
            'readmit_realised_auroc{bound="low"}': steady(0.55),
        },
    ),
    Case(
        "BackupMissing",
        "2m",
        *one('readmit_backup_finished_timestamp_seconds{job="backup"}', -3 * DAY, -DAY),
        absent=True,
    ),
    Case(
        "MonitorSilent",
        "2m",
        *one('readmit_monitored_timestamp_seconds{job="monitor_model"}', -3 * DAY, -DAY),
    ),
    Case("ComponentDown", "3m", *one('probe_success{job="probe",instance="mlflow"}', 0, 1)),
    Case("TargetDown", "6m", {'up{job="node",instance="n"}': steady(0)}, {UP: steady(0)}),
    Case("PostgresDown", "2m", *one('pg_up{job="postgres"}', 0, 1)),
    Case(
        "PostgresConnectionsExhausted",
        "6m",
        {
            'pg_stat_database_numbackends{datname="airflow"}': steady(85),
            "pg_settings_max_connections": steady(100),
        },
        {
            'pg_stat_database_numbackends{datname="airflow"}': steady(60),
            "pg_settings_max_connections": steady(100),
        },
    ),
    Case(
        "DiskAlmostFull",
        "12m",
        {
            f"node_filesystem_avail_bytes{DISK}": steady(9),
            f"node_filesystem_size_bytes{DISK}": steady(100),
        },
        {
            f"node_filesystem_avail_bytes{DISK}": steady(12),
            f"node_filesystem_size_bytes{DISK}": steady(100),
            f"node_filesystem_avail_bytes{TMPFS}": steady(0),
            f"node_filesystem_size_bytes{TMPFS}": steady(100),
        },
    ),
    Case(
        "ObjectStoreAlmostFull",
        "12m",
        {
            'SeaweedFS_volumeServer_volumes{collection="mlflow",type="volume"}': steady(7),
            'SeaweedFS_volumeServer_volumes{collection="pipeline",type="volume"}': steady(154),
            "SeaweedFS_volumeServer_max_volumes": steady(200),
        },
        {
            'SeaweedFS_volumeServer_volumes{collection="pipeline",type="volume"}': steady(159),
            "SeaweedFS_volumeServer_max_volumes": steady(200),
        },
    ),
    Case(
        "MemoryAlmostGone",
        "12m",
        {"node_memory_MemAvailable_bytes": steady(4), "node_memory_MemTotal_bytes": steady(100)},
        {"node_memory_MemAvailable_bytes": steady(6), "node_memory_MemTotal_bytes": steady(100)},
    ),
    Case(
        "RestartLoop",
        "15m",
        {'readmit_started_timestamp_seconds{job="api"}': "1x2 100x2 200x2 300x2 400x10"},
        {'readmit_started_timestamp_seconds{job="api"}': "1x5 100x20"},  # one deployment
    ),
    Case(
        "RestartLoop",
        "15m",
        {'process_start_time_seconds{job="node"}': "1x2 100x2 200x2 300x2 400x10"},
        {'process_start_time_seconds{job="node"}': steady(1)},
    ),
)
