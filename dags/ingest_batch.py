"""One raw batch: claim, load, raw gate, dbt, publish gate, publish.

Each task is safe to repeat at any point (docs/batches.md). A verdict on the data writes the reason into the ledger and
fails its task without retries; a run that fails otherwise gives its batch back. XCom carries the batch id, no rows.
"""

from datetime import datetime

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TriggerRule, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from readmit.settings import PipelineSettings
from shared import DEFAULT_ARGS, ENCOUNTER_FEATURES, TRAINING_READY, bad_data_is_final
from transformations import dbt_task_group


@task
@bad_data_is_final
def register_source() -> None:
    """Fetch and check the source file that DATASET names, unless it is registered already."""
    from readmit import ledger

    ledger.ensure_source()


@task(trigger_rule=TriggerRule.ALL_DONE)
@bad_data_is_final
def claim(run_id: str | None = None) -> str:
    """Take the next batch that is waiting, also when a new source was refused; two runs never take the same one."""
    from readmit import figures, ledger

    figures.ledger()
    if (batch_id := ledger.claim(str(run_id))) is None:
        raise AirflowSkipException("no batch is waiting")
    return batch_id


@task
@bad_data_is_final
def load(batch_id: str) -> str:
    """COPY the batch into RAW, all rows or none."""
    from readmit import ledger

    ledger.load(batch_id)
    return batch_id


@task
@bad_data_is_final
def raw_gate(batch_id: str) -> None:
    """Great Expectations on the rows as they arrived, then make the batch the one that dbt builds."""
    from expectations import gate
    from readmit import ledger, verdicts

    with verdicts.recorded(batch_id):
        gate.check_raw(batch_id)
    ledger.begin_build(batch_id)


@task
@bad_data_is_final
def publish_gate(batch_id: str) -> str:
    """Great Expectations on the feature rows against the contract."""
    from expectations import gate
    from readmit import verdicts

    with verdicts.recorded(batch_id):
        gate.check_publish(batch_id)
    return batch_id


@task(outlets=[ENCOUNTER_FEATURES])
def publish(batch_id: str) -> None:
    """Make the batch visible to readers by one insert."""
    from readmit import ledger

    ledger.publish(batch_id)


@task
def give_back(run_id: str | None = None) -> None:
    """Release the claim of a run that failed before a verdict; nothing to do after a verdict."""
    from readmit import figures, ledger

    ledger.release_claim(str(run_id))
    figures.ledger()


@task(outlets=[TRAINING_READY])
def announce_training() -> None:
    """Tell training that everything that was waiting is published."""
    from readmit import ledger

    if waiting := ledger.waiting():
        raise AirflowSkipException(f"{waiting} batches are still waiting")


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
    [built, done] >> give_back().as_teardown(setups=claimed)
    done >> announce_training()


ingest_batch()
