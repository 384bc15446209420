"""Airflow's LocalExecutor with the libraries of the tasks imported before its workers are forked.

Great Expectations, MLflow, scikit-learn and dbt take 2 to 7 s of a core to import, and nearly every
task needs one of them. A task is a fork of a worker, which is a fork of the scheduler: what the
scheduler has imported is there at once, and its memory is shared. Only libraries are imported here:
the project's own code is imported by each task, so a change of it reaches the next task.
"""

import gc
import importlib
import inspect
import logging
import time

from airflow.executors.local_executor import LocalExecutor

from readmit.telemetry.library_logs import hide_info_of_libraries

log = logging.getLogger("readmit")

LIBRARIES = (
    "airflow.providers.amazon.aws.log.cloudwatch_task_handler",
    "airflow.sdk.execution_time.supervisor",
    "boto3",
    "botocore.httpsession",
    "catboost",
    "cosmos.airflow.task_group",
    "cosmos.operators.watcher",
    "dbt.adapters.postgres",
    "dbt.cli.main",
    "great_expectations",
    "great_expectations.expectations.core",
    "lightgbm",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "mlflow.pyfunc",
    "mlflow.sklearn",
    "pandas",
    "prometheus_client",
    "psycopg2.extras",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "skl2onnx",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "skops.io",
)


class PreloadingExecutor(LocalExecutor):
    """Imports the libraries, then starts the workers as LocalExecutor does."""

    libraries = LIBRARIES

    def start(self) -> None:
        """Import and fork. A library that cannot be imported is left to the tasks that need it."""
        hide_info_of_libraries()
        began = time.monotonic()
        for name in self.libraries:
            try:
                importlib.import_module(name)
            except ImportError as error:
                log.warning("%s is not preloaded: %s", name, error)
        _read_description_of_s3()
        log.info("libraries of the tasks imported in %.1f s", time.monotonic() - began)
        # Airflow's hook of the object store calls this. Its first call reads the file of all 6,400
        # modules, and the pages that hold them are copied: 60 MB for each worker, if not done here.
        inspect.stack()
        super().start()
        # Airflow hands the libraries back to the garbage collector once the workers are forked. Its
        # next run would write to every object, and so copy 130 MB that are shared with the workers.
        gc.freeze()


def _read_description_of_s3() -> None:
    """Have boto3's default session read what it knows of S3: 0.15 s of a core in each task.

    The client connects to nothing, and its keys are none: tasks give theirs with each client.
    """
    import boto3

    no_key = "-"
    boto3.client(
        "s3",
        region_name="us-east-1",  # any: `readmit.storage` is not imported here
        aws_access_key_id=no_key,
        aws_secret_access_key=no_key,
    )
