"""Each night: delete task logs and pages that are older than the settings say, and archive old
predictions (docs/retention.md).

What Airflow itself keeps of old runs is cleaned outside of its tasks, which have no access to it.
"""

from airflow.sdk import dag, task

from assets import DOCS_SITE
from pod_kinds import pod_of
from shared import NIGHTLY_ARGS, log


@task(executor_config=pod_of("housekeep"))
def expire_objects() -> None:
    """Delete old task logs, and old pages of gates and drift, from the object store."""
    from readmit.ops import retention
    from readmit.settings import RetentionSettings

    for prefix, n_objects in retention.expire_objects(RetentionSettings()).items():
        log.info("%s: %d objects were too old", prefix, n_objects)


@task(executor_config=pod_of("batch"))
def archive_predictions() -> None:
    """Write old months of predictions to the object store, and drop them from Postgres."""
    from readmit.ops import prediction_archive
    from readmit.settings import ArchiveSettings

    archived = prediction_archive.archive(ArchiveSettings())
    for key, n_rows in archived.items():
        log.info("%s: %d predictions are archived", key, n_rows)
    if not archived:
        log.info("no month of predictions is old enough to be archived")


@dag(
    schedule="37 3 * * *",
    description="Delete task logs and pages that are too old, archive old predictions",
    tags=["operations"],
    doc_md=f"{__doc__}\nThe site: {DOCS_SITE}",
    **NIGHTLY_ARGS,
)
def housekeep() -> None:
    expire_objects()
    archive_predictions()


housekeep()
