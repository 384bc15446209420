"""sqlfluff on the SQL as dbt renders it.

Rendering an incremental model asks the database, so it needs a Postgres.
"""

import subprocess
import sys
from pathlib import Path

from readmit.contract.definition import PROJECT
from tests.support import services


def lint(settings, *paths: str) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).parent / "sqlfluff"), "lint", "--processes", "1", *paths]
    environment = services.environment(settings)
    return subprocess.run(
        command,
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_sql_is_clean(postgres):
    completed = lint(postgres, "models", "tests")
    assert completed.returncode == 0, completed.stdout[-3000:]
