"""Run the functions of Airflow's tasks in one process, with logs as Airflow's task runner sets them
up: `python -m tests.support.task_logs OUTPUT`.

OUTPUT becomes a JSON object: the lines that each task wrote, in order, whether by a logger, as a
warning, or to stdout and stderr. Airflow's own lines about starting and ending a task are not among
them.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryFile
from types import SimpleNamespace
from typing import TextIO

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.execution_time.context import set_current_context
from airflow.sdk.log import configure_logging

from bench.made_up_rows import make_rows
from readmit.contract.definition import Contract
from readmit.settings import ROOT, StackSettings
from tests.support import dbt
from training import snapshots
from training.training_settings import TrainingSettings

SNAPSHOT = "b" * 64


class Recorder:
    """Runs tasks and keeps the lines of each."""

    def __init__(self, file: TextIO) -> None:
        self.lines: dict[str, list[str]] = {}
        self._file = file
        self._dags = DagBag(str(ROOT / "dags")).dags

    def run(self, dag_id: str, task_id: str, *arguments: object, **options: object) -> object:
        """Run the function of a task, and return its result."""
        function = self._dags[dag_id].get_task(task_id).python_callable
        return self.call(f"{dag_id}.{task_id}", function, *arguments, **options)

    def call(
        self, name: str, function: Callable[..., object], *arguments: object, **options: object
    ) -> object:
        """Call a function as a task of this name, and return its result."""
        self._file.truncate(0)
        self._file.seek(0)
        with set_current_context({}):
            result = function(*arguments, **options)
        self._file.flush()
        self._file.seek(0)
        self.lines[name] = self._file.read().splitlines()
        return result


def run_batch(recorder: Recorder, settings: StackSettings) -> None:
    """Publish one batch."""
    import dbt_verdict

    recorder.run("ingest_batch", "register_source")
    build = recorder.run("ingest_batch", "claim_build", run_id="logs")
    recorder.run("ingest_batch", "load", build)
    recorder.run("ingest_batch", "raw_gate", build)
    target = Path(os.environ["DBT_TARGET_PATH"])
    recorder.call("dbt itself", dbt.build, settings, target, writes_results=True)
    context = {"ti": SimpleNamespace(xcom_push=lambda *_: None)}
    recorder.call("ingest_batch.dbt", dbt_verdict.share_test_results, "", context)
    recorder.run("ingest_batch", "publish_gate", build)
    recorder.run("ingest_batch", "publish", build)
    recorder.run("ingest_batch", "release_claim", run_id="logs")


def run_training(recorder: Recorder) -> None:
    """Train on made-up rows until a model is in production."""
    settings = TrainingSettings()
    contract = Contract.from_manifest(snapshots.manifest())
    rows = make_rows(contract)
    facts = snapshots.Facts(SNAPSHOT, "sample", ["b"], 1, 1, 1, 0, 0)
    snapshots.store(snapshots.Snapshot(facts, contract, rows), settings)
    recorder.run("train_model", "candidates")
    run_id = recorder.run("train_model", "fit", SNAPSHOT, "logistic")
    version = recorder.run("train_model", "register_best", [run_id])
    promoted = recorder.run("train_model", "decide", version)
    recorder.run("train_model", "score_sealed", promoted)
    recorder.run("train_model", "draw_learning_curve", version)


def main() -> None:
    """Run all tasks and write their lines."""
    with (
        TemporaryFile("w+", encoding="utf-8", buffering=1) as file,
        redirect_stdout(file),
        redirect_stderr(file),
    ):
        configure_logging(json_output=True, output=file.buffer, sending_to_supervisor=True)
        recorder = Recorder(file)
        run_batch(recorder, StackSettings())
        run_training(recorder)
    Path(sys.argv[1]).write_text(json.dumps(recorder.lines, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
