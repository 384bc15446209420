"""The second task of `ingest_batch`: does anything wait?"""

from typing import Any

from airflow.sdk import TriggerRule, task
from airflow.sdk.exceptions import AirflowSkipException, DownstreamTasksSkipped

from announcement import news_for_training
from assets import TRAINING_READY
from pod_kinds import pod_of
from readmit.settings import PipelineSettings
from shared import bad_data_is_final, log


@task.short_circuit(
    trigger_rule=TriggerRule.ALL_DONE, inlets=[TRAINING_READY], executor_config=pod_of("batch")
)
@bad_data_is_final
def look_for_work(
    inlet_events: Any = None,  # noqa: ANN401 (Airflow names no type for it)
) -> bool:
    """Tell whether a build, a result of the inbox or an announcement waits. If none does, all tasks
    that follow are skipped, without a process of their own.

    Raises:
        DownstreamTasksSkipped: something waits, but these tasks would have nothing to do.
    """
    from readmit.batches import batch_gauges, claims, ledger, rebuilds
    from readmit.intake import inbox_results

    settings = PipelineSettings()
    # A run that died may have left these undone.
    ledger.repair(settings)
    rebuilds.plan(settings)
    rebuilds.switch(settings)
    batch_gauges.report_batches(settings)
    if n_waiting := claims.count_waiting(settings):
        log.info("%d builds wait", n_waiting)
        without_work = []
        if n_waiting > 1:  # the run takes one
            without_work.append("announce_training")
        if not inbox_results.may_change(settings):
            without_work.append("write_results")
        if without_work:
            raise DownstreamTasksSkipped(tasks=without_work)
        return True
    if inbox_results.is_any_open(settings):
        log.info("results of the inbox are not written yet")
        return True
    try:
        news_for_training(inlet_events[TRAINING_READY], settings)
    except AirflowSkipException as nothing:
        log.info("nothing waits: %s", nothing)
        return False
    log.info("training is not announced yet")
    return True
