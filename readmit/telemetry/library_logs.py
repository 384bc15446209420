"""Keep the lines of libraries out of the logs of Airflow's tasks, so that ours can be found.

Airflow's setting `logging.namespace_levels` is for its own loggers only: the loggers of the
standard library do not read it (Airflow 3.3).
"""

import logging
import os

# At INFO each of them reports on itself: Great Expectations each decorator that it does not
# document (200 lines an import), Cosmos each step of reading the manifest, botocore where it found
# the credentials, MLflow what it waits for.
CHATTY = ("great_expectations", "cosmos", "botocore", "mlflow")


def hide_info_of_libraries() -> None:
    """Let these libraries log warnings and errors only. A further call changes nothing."""
    # MLflow sets its level itself when it is imported after this call.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
