"""The tasks that read the inbox and DATASET, and that write what became of the files."""

from airflow.sdk import TriggerRule, task

from pod_kinds import pod_of
from readmit.settings import PipelineSettings
from shared import bad_data_is_final, log


@task(executor_config=pod_of("intake"))
@bad_data_is_final
def register_source() -> None:
    """Register the new files of the inbox, and the source file that DATASET names, unless that
    is done already.
    """
    from readmit.errors import SourceRefused
    from readmit.intake import inbox, sources

    settings = PipelineSettings()
    # First: the public file joins no file that a person has brought.
    refusals = inbox.submit_new_files(settings)
    sha256 = sources.ensure_source(settings)
    if sha256 is None:
        log.info("the source file that DATASET names was registered before")
    else:
        log.info("the source file is registered, sha256 %s: its batches wait", sha256)
    if refusals:
        raise SourceRefused("\n".join(refusals))


@task(trigger_rule=TriggerRule.ALL_DONE, executor_config=pod_of("intake"))
def write_results() -> None:
    """Write beside each file of the inbox what became of it."""
    from readmit.intake import inbox_results

    results = inbox_results.write_results(PipelineSettings())
    for result in results:
        log.info("inbox: %s is %s", result["name"], result["state"])
    if not results:
        log.info("inbox: no file has a new result")
