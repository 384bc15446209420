"""`python -m readmit.ops.airflow_tables`: remove old runs from Airflow's tables.

Airflow's tasks have no access to its database, so a CronJob does it each night; on one machine
`stack.old_runs`.
"""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

from readmit.command import explained
from readmit.settings import RunRetentionSettings

LAST_CHARACTERS = 500


def oldest_kept(settings: RunRetentionSettings) -> datetime:
    """Return the time before which runs are too old."""
    return datetime.now(UTC) - timedelta(days=settings.readmit_run_retention_days)


def clean(before: datetime) -> None:
    """Delete rows of runs before a time from Airflow's tables; the last run of a DAG stays.

    Raises:
        OSError: Airflow failed; the message has the end of its output.
    """
    command = [sys.executable, "-m", "airflow", "db", "clean", "--yes", "--skip-archive"]
    process = subprocess.run(
        [*command, "--clean-before-timestamp", before.isoformat(timespec="seconds")],
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode != 0:
        text = (process.stderr or process.stdout).strip()
        raise OSError(f"airflow db clean: {text[-LAST_CHARACTERS:]}")


@explained
def main() -> int:
    """Command line."""
    before = oldest_kept(RunRetentionSettings())
    clean(before)
    print(f"runs before {before:%Y-%m-%d} are removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
