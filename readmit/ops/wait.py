"""Wait for services: `python -m readmit.ops.wait postgres s3`, for init containers.

Each check uses the service itself: a log-in, or a list of buckets.
"""

import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial

import psycopg2
from botocore.exceptions import BotoCoreError, ClientError

from readmit import db, storage
from readmit.settings import OperationsSettings

TIMEOUT_SECONDS = 600.0
PAUSE_SECONDS = 2.0


class NotReady(Exception):
    """A service was not ready in time; the message names it and its last error."""


def log_in(role: db.Role, settings: OperationsSettings) -> None:
    """Log in to the database that has the name of the role."""
    with closing(db.connect(role, role, settings)):
        pass


def list_buckets(settings: OperationsSettings) -> None:
    """Ask the object store for its buckets."""
    storage.client("admin", settings).list_buckets()


def find_bucket(settings: OperationsSettings) -> None:
    """Ask the object store for MLflow's bucket, as MLflow."""
    storage.client("mlflow", settings).head_bucket(Bucket=settings.s3_mlflow_bucket)


CHECKS: dict[str, Callable[[OperationsSettings], None]] = {
    "postgres": partial(log_in, "postgres"),
    "mlflow": partial(log_in, "mlflow"),
    "airflow": partial(log_in, "airflow"),
    "s3": list_buckets,
    "buckets": find_bucket,
}


def wait_for(
    name: str,
    settings: OperationsSettings,
    seconds: float = TIMEOUT_SECONDS,
    pause: float = PAUSE_SECONDS,
) -> None:
    """Return when the check of that name passes.

    Raises:
        NotReady: it did not pass within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            CHECKS[name](settings)
            return
        except (psycopg2.OperationalError, BotoCoreError, ClientError) as error:
            reason = str(error).strip().splitlines()[0]
        if time.monotonic() > deadline:
            raise NotReady(f"{name} is not ready after {seconds:.0f} s: {reason}")
        print(f"waiting for {name}: {reason}", flush=True)
        time.sleep(pause)


def main() -> None:
    """Command line: wait for each named service, in order."""
    names = sys.argv[1:]
    unknown = sorted(set(names) - CHECKS.keys())
    if unknown:
        sys.exit(f"{', '.join(unknown)}: not known; one of {', '.join(CHECKS)}")
    settings = OperationsSettings()
    for name in names:
        wait_for(name, settings)
        print(f"{name} is ready", flush=True)


if __name__ == "__main__":
    main()
