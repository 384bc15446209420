"""One build: the next of the queue goes through load, raw gate, dbt, publish gate and publish.

Each task is safe to repeat at any point (docs/batches.md). When nothing waits, `look_for_work`
skips what comes after it. A correction and a rebuild for another contract skip `load` and
`raw_gate`. A verdict on the data is recorded and fails its task without retries; another failure
releases the claim. XCom carries names, no rows.
"""

from dataclasses import asdict

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException

from announcement import announce_training
from assets import DOCS_SITE, ENCOUNTER_FEATURES
from dbt_verdict import dbt_tests
from gates import publish_gate, raw_gate
from inbox_tasks import register_source, write_results
from pod_kinds import pod_of
from readmit.settings import PipelineSettings
from shared import DAG_ARGS, bad_data_is_final, nothing
from transformations import dbt_task_group
from work import look_for_work


@task(executor_config=pod_of("batch"))
@bad_data_is_final
def claim_build(run_id: str | None = None) -> dict[str, str]:
    """Take the next build that waits; two runs never take the same one."""
    from readmit.batches import batch_gauges, claims, rebuilds

    settings = PipelineSettings()
    rebuilds.plan(settings)
    rebuilds.switch(settings)  # a run that died may have left that undone
    batch_gauges.report_batches(settings)
    build = claims.claim_and_begin(str(run_id), settings)
    if build is None:
        raise AirflowSkipException("no build is waiting")
    return asdict(build)


@task(executor_config=pod_of("intake"))
@bad_data_is_final
def load(build: dict[str, str]) -> None:
    """COPY the batch into RAW, all rows or none."""
    from readmit.batches import loading

    if build["kind"] != "batch":
        raise AirflowSkipException("its rows are in RAW already")
    loading.load(build["batch_id"], PipelineSettings())


@task(outlets=[ENCOUNTER_FEATURES], executor_config=pod_of("batch"))
def publish(build: dict[str, str]) -> bool:
    """Make the build visible to readers by one insert; the last build of a rebuild makes all of
    them visible. Returns whether the mart got another contract.
    """
    from readmit.batches import rebuilds
    from readmit.batches.builds import Build

    settings = PipelineSettings()
    Build(**build).publish(settings)
    return build["kind"] == "rebuild" and rebuilds.switch(settings)


@task(executor_config=pod_of("batch"))
def release_claim(run_id: str | None = None) -> None:
    """Release the claim of a run that failed before a verdict; nothing to do after a verdict."""
    from readmit.batches import batch_gauges, claims

    settings = PipelineSettings()
    claims.release_claim(str(run_id), settings)
    batch_gauges.report_batches(settings)


@dag(
    schedule=PipelineSettings().ingest_schedule,
    description="One batch, correction or rebuild: load, raw gate, dbt, publish gate, publish",
    tags=["data"],
    doc_md=f"{__doc__}\nBatches and their gates: {DOCS_SITE}/#batches",
    **DAG_ARGS,
)
def ingest_batch() -> None:
    build = claim_build()
    # A refused source does not hold up the builds that wait, yet its run is red.
    work = look_for_work()
    register_source() >> [work, nothing("source_is_known")]
    work >> build
    raw_checked = raw_gate(build)
    load(build) >> raw_checked
    dbt = dbt_task_group()
    tested = dbt_tests()
    # A correction and a rebuild skip `raw_gate`; that something was claimed lets dbt start all the
    # same.
    [build >> nothing("claimed"), raw_checked] >> dbt >> tested
    checked = publish_gate(build)
    published = publish(build)
    [dbt, tested] >> checked >> published
    # `publish` stays the task that decides the run's colour: what follows a teardown does not hide
    # a rejected build.
    (
        [dbt, published]
        >> release_claim().as_teardown(setups=build)
        >> [
            announce_training(),
            write_results(),
        ]
    )


ingest_batch()
