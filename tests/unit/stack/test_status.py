"""`make status` shows real errors only. The log lines are real ones of the programs."""

from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from stack import readiness, status
from stack.progress import Progress

HARMLESS = [
    '2026-11-23 22:33:55.663 UTC [21674] ERROR:  duplicate key value violates unique constraint "metric_pk"',
    "E1123 22:26:49.060338 s3api_server.go:403 Failed to load IAM configuration: no signing key found for STS service",
    "2026-11-23T22:31:15.930195Z [error    ] XCom not found          [airflow.sdk.api.client] dag_id=ingest",
    "2026-11-23 22:26:01.003 UTC [15] FATAL:  the database system is starting up",
    "2026-11-23 22:40:01.003 UTC [15] FATAL:  terminating connection due to administrator command",
    '{"level":"INFO","logger":"uvicorn.error","message":"Application startup complete."}',
    "2026-11-25 19:03:27.965031+00:00 [info     ] 19:03:27  Done. PASS=23 WARN=0 ERROR=0 SKIP=0 NO-OP=0 TOTAL=23",
    "2026-11-25T19:07:31.427133Z [error    ] 2026/11/25 19:07:31 INFO mlflow.tracking.fluent: Experiment with name"
    " 'readmission' does not exist. Creating a new experiment. [task.stderr]",
    "2026-11-25 19:09:45.772 UTC [22101] FATAL:  the database system is not yet accepting connections",
]
REAL = [
    '2026-11-23 22:33:55.663 UTC [21674] ERROR:  duplicate key value violates unique constraint "batches_pkey"',
    "2026-11-23 22:33:55.663 UTC [21674] PANIC:  could not write to file: No space left on device",
    "E1123 22:26:49.060338 volume.go:17 disk is full",
    "2026-11-23T22:31:15.930195Z [error    ] Task failed with exception [task] dag_id=ingest_batch",
    "ConnectionError: the database is away",
    '2026-11-25 19:01:20.731 UTC [14455] FATAL:  password authentication failed for user "loader"',
    "2026-11-25 19:09:35.645 UTC [15234] FATAL:  terminating connection due to unexpected postmaster exit",
]


def test_an_error_with_brackets_is_shown_as_it_was_logged():
    error = "[error    ] no such file: [/tmp/x]"
    item = {
        "title": "API",
        "up": False,
        "state": "FATAL",
        "address": "",
        "memory_mb": 0,
        "last_error": error,
    }
    console = Console(file=StringIO(), width=200)
    console.print(status.table([item]))
    assert error in console.file.getvalue()


def test_the_time_that_make_up_shows_goes_on_after_an_hour(monkeypatch):
    progress = Progress(Console(file=StringIO(), width=200))
    monkeypatch.setattr(progress, "elapsed", lambda: 3_725.0)
    progress.show("batch 3")
    progress.error("[/x] is full")
    assert progress.console.file.getvalue().splitlines() == [
        "62:05  : batch 3",
        "error: [/x] is full",
    ]


def shown(tmp_path, *lines):
    (tmp_path / "log").mkdir(exist_ok=True)
    (tmp_path / "log" / "x.log").write_text("\n".join(lines) + "\n")
    return readiness.last_error("x", SimpleNamespace(readmit_home=tmp_path))


@pytest.mark.parametrize("line", HARMLESS)
def test_a_line_of_a_working_stack_is_no_error(tmp_path, line):
    assert shown(tmp_path, line) == ""


@pytest.mark.parametrize("line", REAL)
def test_a_real_error_is_shown_though_harmless_lines_follow(tmp_path, line):
    assert shown(tmp_path, line, *HARMLESS) == line
