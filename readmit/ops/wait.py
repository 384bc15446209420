"""Wait until what a part needs is there: `python -m readmit.ops.wait postgres s3`. For init containers; ends by itself.

Readiness is asked of the thing itself: a login, a list of buckets. Nothing is assumed from time.
"""

import sys
import time
from collections.abc import Callable
from contextlib import closing

import psycopg2
from botocore.exceptions import BotoCoreError, ClientError

from readmit import db, storage
from readmit.settings import OperationsSettings

SECONDS = 600.0
PAUSE_SECONDS = 2.0


class NotThere(Exception):
    """Something did not come; the message says what and what it said last."""


def _logs_in(role: db.Role, database: str, settings: OperationsSettings) -> None:
    with closing(db.connect(role, database, settings)):
        return


def _store_answers(settings: OperationsSettings) -> None:
    storage.client(settings).list_buckets()


def _buckets_exist(settings: OperationsSettings) -> None:
    for bucket in (settings.s3_mlflow_bucket, settings.s3_pipeline_bucket):
        storage.client(settings).head_bucket(Bucket=bucket)


CHECKS: dict[str, Callable[[OperationsSettings], None]] = {
    "postgres": lambda settings: _logs_in("postgres", "postgres", settings),
    "mlflow": lambda settings: _logs_in("mlflow", "mlflow", settings),
    "airflow": lambda settings: _logs_in("airflow", "airflow", settings),
    "s3": _store_answers,
    "buckets": _buckets_exist,
}


def wait_for(
    name: str, settings: OperationsSettings, seconds: float = SECONDS, pause: float = PAUSE_SECONDS
) -> None:
    """Return when the check of that name passes.

    Raises:
        NotThere: it did not pass within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return CHECKS[name](settings)
        except (psycopg2.OperationalError, BotoCoreError, ClientError) as error:
            said = str(error).strip().splitlines()[0]
        if time.monotonic() > deadline:
            raise NotThere(f"{name} is not there after {seconds:.0f} s: {said}")
        print(f"waiting for {name}: {said}", flush=True)
        time.sleep(pause)


def main() -> None:
    """Command line: wait for each thing that is named, in order."""
    names = sys.argv[1:]
    if unknown := set(names) - CHECKS.keys():
        sys.exit(f"{', '.join(sorted(unknown))}: not known; one of {', '.join(CHECKS)}")
    settings = OperationsSettings()
    for name in names:
        wait_for(name, settings)
        print(f"{name} is there", flush=True)


if __name__ == "__main__":
    main()
