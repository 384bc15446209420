"""Publish dbt docs (lineage) and the index of the docs site when a batch is published or a model was decided on."""

from datetime import datetime

from airflow.sdk import dag, task

from shared import DEFAULT_ARGS, ENCOUNTER_FEATURES, MODEL_DECISION


@task
def publish_site() -> None:
    """Generate dbt docs and the index page; GX pages were stored by the gates themselves."""
    from readmit.docs_site import publishing
    from readmit.settings import PipelineSettings

    publishing.publish(PipelineSettings())


@dag(
    schedule=ENCOUNTER_FEATURES | MODEL_DECISION,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["docs"],
    doc_md=__doc__,
)
def publish_docs() -> None:
    publish_site()


publish_docs()
