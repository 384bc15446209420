"""The Assets that start DAGs, each with the pages that show what is behind it."""

from airflow.sdk import Asset

from readmit.settings import PipelineSettings

_settings = PipelineSettings()
DOCS_SITE = _settings.page("docs")
_MLFLOW = _settings.page("mlflow")

ENCOUNTER_FEATURES = Asset(
    "encounter_features",
    extra={"batches": f"{DOCS_SITE}/#batches", "lineage": f"{DOCS_SITE}/dbt/#!/overview?g_v=1"},
)
TRAINING_READY = Asset("training_ready", extra={"batches": f"{DOCS_SITE}/#batches"})
MODEL_DECISION = Asset(
    "model_decision",
    extra={"model_cards": f"{DOCS_SITE}/#models", "registry": f"{_MLFLOW}/#/models"},
)
