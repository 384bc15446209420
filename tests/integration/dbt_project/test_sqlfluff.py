"""sqlfluff on the SQL as dbt renders it; rendering an incremental model asks the database, so it needs a Postgres."""

import subprocess
import sys
from pathlib import Path

from readmit.contract.definition import PROJECT
from tests.support import services


def lint(settings, *paths: str) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).parent / "sqlfluff"), "lint", "--processes", "1", *paths]
    told = services.environment(settings)
    return subprocess.run(
        command, cwd=PROJECT, env=told, capture_output=True, text=True, check=False, timeout=300
    )


def test_sql_is_clean(postgres):
    done = lint(postgres, "models", "tests")
    assert done.returncode == 0, done.stdout[-3000:]
