"""Build the corrected rows that somebody released from quarantine, one release at a time, oldest first.

The same dbt models and the same rules look at them as at a batch; only what passes is published.
"""

from datetime import datetime
from typing import Any

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException

from readmit.settings import PipelineSettings
from shared import DEFAULT_ARGS, ENCOUNTER_FEATURES, bad_data_is_final
from transformations import dbt_task_group, ensure_tested


@task
def oldest() -> str:
    """Name the release that waits longest."""
    from readmit.batches import corrections

    if not (waiting := corrections.waiting(PipelineSettings())):
        raise AirflowSkipException("no release is waiting")
    return waiting[0]


@task
def begin(build_id: str) -> str:
    """Make the release what dbt builds next."""
    from readmit.batches import corrections

    corrections.begin_build(build_id, PipelineSettings())
    return build_id


@task
@bad_data_is_final
def publish_gate(build_id: str, ti: Any = None) -> str:  # noqa: ANN401 (Airflow's task instance)
    """Great Expectations on the rows that the release makes, once dbt's tests have passed."""
    from expectations import gate

    ensure_tested(build_id, ti)
    gate.check_publish(build_id.partition("+")[0], PipelineSettings(), build_id)
    return build_id


@task
def end(build_id: str) -> None:
    """Leave dbt's place to the next build, also when this one failed."""
    from readmit.batches import corrections

    corrections.end_build(build_id, PipelineSettings())


@task(outlets=[ENCOUNTER_FEATURES])
def publish(build_id: str) -> None:
    """Make the released rows visible, and the new history of their patients with them."""
    from readmit.batches import corrections

    corrections.publish(build_id, PipelineSettings())


@dag(
    schedule=PipelineSettings().ingest_schedule,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["data"],
    doc_md=__doc__,
)
def release_quarantine() -> None:
    begun = begin(oldest())
    checked, built = publish_gate(begun), dbt_task_group()
    done = publish(checked)
    begun >> built >> checked
    [built, done] >> end(begun).as_teardown(setups=begun)


release_quarantine()
