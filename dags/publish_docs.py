"""Publish dbt docs (lineage) and the index of the docs site when a batch is published or a model
was decided on.
"""

from airflow.sdk import dag, task

from pod_kinds import pod_of
from shared import DAG_ARGS, ENCOUNTER_FEATURES, MODEL_DECISION


@task(executor_config=pod_of("docs"))
def publish_site() -> None:
    """Generate dbt docs and the index page; GX pages were stored by the gates themselves."""
    from readmit.docs_site import publishing
    from readmit.settings import PipelineSettings

    publishing.publish(PipelineSettings())


@dag(
    schedule=ENCOUNTER_FEATURES | MODEL_DECISION,
    tags=["docs"],
    doc_md=__doc__,
    **DAG_ARGS,
)
def publish_docs() -> None:
    publish_site()


publish_docs()
