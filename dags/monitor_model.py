"""Watches the production model: drift of its requests, and how good its predictions were.

Looks daily (READMIT_MONITOR_SCHEDULE); beside it, dbt is asked how old the sources are. With
READMIT_DRIFT_TRIGGERS_TRAINING=true drift starts `train_model`: see docs/monitoring.md.
"""

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk.types import OutletEventAccessorsProtocol

from assets import DOCS_SITE, TRAINING_READY
from pod_kinds import pod_of
from readmit.settings import PipelineSettings
from shared import NIGHTLY_ARGS


@task(executor_config=pod_of("verdict"))
def source_freshness() -> dict[str, str]:
    """Ask dbt how old the ledger and the published data are; fails when one is beyond its limit."""
    from readmit.batches import builds
    from readmit.docs_site import dbt_docs

    if not builds.count_published(
        PipelineSettings()
    ):  # dbt takes an empty table for one that is infinitely old
        raise AirflowSkipException("nothing is published yet")
    try:
        return dbt_docs.freshness()
    except dbt_docs.SourcesTooOld as old:
        raise AirflowFailException(str(old)) from old


@task(executor_config=pod_of("monitor"))
def look() -> str:
    """Compare, publish the report, push the figures; returns `drift`, `no drift` or `too few`."""
    from training import monitor
    from training.training_settings import MonitorSettings

    try:
        return monitor.run(MonitorSettings())
    except monitor.NothingToMonitor as nothing:
        raise AirflowSkipException(str(nothing)) from nothing


@task(outlets=[TRAINING_READY], executor_config=pod_of("batch"))
def ask_for_training(
    verdict: str, outlet_events: OutletEventAccessorsProtocol | None = None
) -> None:
    """Start training when there is drift and the setting allows it.

    A skipped task announces nothing.
    """
    from readmit.batches import builds

    if verdict != "drift":
        raise AirflowSkipException(f"{verdict}: nothing to train for")
    settings = PipelineSettings()
    if not settings.drift_triggers_training:
        raise AirflowSkipException(
            "drift, and READMIT_DRIFT_TRIGGERS_TRAINING is off: see the report on the docs site"
        )
    # The number that `ingest_batch` compares with: without it, it would announce the same batches
    # again.
    outlet_events[TRAINING_READY].extra = {"published": builds.count_published(settings)}


@dag(
    schedule=PipelineSettings().monitor_schedule,
    description="Drift of the requests, and how good the predictions were",
    tags=["model"],
    doc_md=f"{__doc__}\nReports: {DOCS_SITE}/#drift",
    **NIGHTLY_ARGS,
)
def monitor_model() -> None:
    source_freshness()
    ask_for_training(look())


monitor_model()
