"""The stack's executor, for an Airflow whose tasks need dbt and no model."""

from stack.preloading_executor import PreloadingExecutor

PREFIXES = ("airflow.sdk.", "cosmos.", "dbt.")


class DbtExecutor(PreloadingExecutor):
    """Does not import MLflow, scikit-learn and what else takes seconds that no task saves."""

    libraries = tuple(name for name in PreloadingExecutor.libraries if name.startswith(PREFIXES))
