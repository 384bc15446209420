"""Publish dbt docs (lineage) and the index of the docs site.

A published batch or a decision on a model starts it.
"""

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException

from assets import DOCS_SITE, ENCOUNTER_FEATURES, MODEL_DECISION
from pod_kinds import pod_of
from readmit.settings import PipelineSettings
from shared import DAG_ARGS, log


@task(executor_config=pod_of("docs"))
def publish_site() -> None:
    """Generate dbt docs and the index page; GX pages were stored by the gates themselves.

    While builds wait, only once in ten minutes: dbt needs a core that the next build needs too.
    """
    from readmit.docs_site import publishing

    settings = PipelineSettings()
    n_waiting = publishing.count_waiting(settings)
    if n_waiting and publishing.is_recent(settings):
        raise AirflowSkipException(f"{n_waiting} builds wait: the last of them brings the site")
    publishing.publish(settings)
    log.info("the docs site is written: %s", DOCS_SITE)


@dag(
    schedule=ENCOUNTER_FEATURES | MODEL_DECISION,
    description="Lineage, data dictionary and index of the docs site",
    tags=["docs"],
    doc_md=f"{__doc__}\nThe site: {DOCS_SITE}",
    **DAG_ARGS,
)
def publish_docs() -> None:
    publish_site()


publish_docs()
