"""One raw batch: claim, load, raw gate, dbt, publish gate, publish.

Each task is safe to repeat at any point (docs/batches.md). A verdict on the data writes the reason into the ledger and
fails its task without retries; a run that fails otherwise gives its batch back. XCom carries the batch id, no rows.
"""

from datetime import datetime
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TriggerRule, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from readmit.settings import PipelineSettings
from shared import DEFAULT_ARGS, ENCOUNTER_FEATURES, announce_training, bad_data_is_final
from transformations import dbt_task_group, ensure_tested


@task
@bad_data_is_final
def register_source() -> None:
    """Fetch and check the source file that DATASET names, unless it is registered already."""
    from readmit.intake import sources

    sources.ensure_source(PipelineSettings())


@task(trigger_rule=TriggerRule.ALL_DONE)
@bad_data_is_final
def claim(run_id: str | None = None) -> str:
    """Take the next batch that is waiting, also when a new source was refused; two runs never take the same one."""
    from readmit.batches import batch_gauges, claims

    settings = PipelineSettings()
    batch_gauges.ledger(settings)
    batch_id = claims.claim(str(run_id), settings)
    if batch_id is None:
        raise AirflowSkipException("no batch is waiting")
    return batch_id


@task
@bad_data_is_final
def load(batch_id: str) -> str:
    """COPY the batch into RAW, all rows or none."""
    from readmit.batches import loading

    loading.load(batch_id, PipelineSettings())
    return batch_id


@task
@bad_data_is_final
def raw_gate(batch_id: str) -> None:
    """Great Expectations on the rows as they arrived, then make the batch the one that dbt builds."""
    from expectations import gate
    from readmit.batches import builds, verdicts

    settings = PipelineSettings()
    with verdicts.recorded(batch_id, settings):
        gate.check_raw(batch_id, settings)
    builds.begin_build(batch_id, settings)


@task
@bad_data_is_final
def publish_gate(batch_id: str, ti: Any = None) -> str:  # noqa: ANN401 (Airflow's task instance)
    """Great Expectations on the feature rows against the contract, once dbt's tests have passed."""
    from expectations import gate
    from readmit.batches import verdicts

    settings = PipelineSettings()
    with verdicts.recorded(batch_id, settings, of_build=True):
        ensure_tested(batch_id, ti)
        gate.check_publish(batch_id, settings)
    return batch_id


@task(outlets=[ENCOUNTER_FEATURES])
def publish(batch_id: str) -> None:
    """Make the batch visible to readers by one insert."""
    from readmit.batches import builds

    builds.publish(batch_id, PipelineSettings())


@task
def give_back(run_id: str | None = None) -> None:
    """Release the claim of a run that failed before a verdict; nothing to do after a verdict."""
    from readmit.batches import batch_gauges, claims

    settings = PipelineSettings()
    claims.release_claim(str(run_id), settings)
    batch_gauges.ledger(settings)


@dag(
    schedule=PipelineSettings().ingest_schedule,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["data"],
    doc_md=__doc__,
)
def ingest_batch() -> None:
    known, claimed = register_source(), claim()
    loaded = load(claimed)
    checked = publish_gate(loaded)
    built, done = dbt_task_group(), publish(checked)
    # A refused source does not hold the batches up that wait, yet its run is red.
    known >> [claimed, EmptyOperator(task_id="source_is_known")]
    loaded >> raw_gate(loaded) >> built >> checked
    # `publish` stays the task that decides the run's colour: what follows a teardown does not hide a rejected batch.
    [built, done] >> give_back().as_teardown(setups=claimed) >> announce_training()


ingest_batch()
