"""The two gates of a build: Great Expectations on what arrived, and on what dbt made of it."""

from airflow.sdk import task

from pod_kinds import pod_of
from readmit.settings import PipelineSettings
from shared import bad_data_is_final


@task(executor_config=pod_of("batch"))
@bad_data_is_final
def raw_gate(build: dict[str, str]) -> None:
    """Great Expectations on the rows of the batch as they arrived."""
    from expectations import gate
    from readmit.batches import claims, verdicts
    from readmit.batches.builds import Build

    settings = PipelineSettings()
    with verdicts.record_rejection(Build(**build), settings):
        gate.check_raw(build["batch_id"], settings)
    claims.renew(build["build_id"], settings)


@task(executor_config=pod_of("batch"))
@bad_data_is_final
def publish_gate(build: dict[str, str]) -> None:
    """Great Expectations on the feature rows against the contract."""
    from expectations import gate
    from readmit.batches import verdicts
    from readmit.batches.builds import Build

    settings = PipelineSettings()
    with verdicts.record_rejection(Build(**build), settings):
        gate.check_publish(Build(**build), settings)
