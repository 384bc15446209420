"""The verdict of dbt's tests.

They run inside the one `dbt build`, and one task shows their results.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from airflow.sdk import Context, TaskInstanceState, TriggerRule, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk.types import RuntimeTaskInstanceProtocol

from pod_kinds import pod_of
from readmit import libpq
from readmit.settings import PipelineSettings
from shared import bad_data_is_final

if TYPE_CHECKING:
    from readmit.batches.verdicts import TestResults

PROJECT = Path(__file__).resolve().parent.parent / "dbt_project"
PRODUCER = "dbt.dbt_producer_watcher"  # Cosmos' task that runs dbt
TEST_RESULTS = "test_results"  # its XCom


def share_test_results(project: str, context: Context, **_: object) -> None:
    """Hand the results of dbt's tests on to the task `dbt_tests`.

    Cosmos calls this after dbt, in the task that ran it.

    Raises:
        AirflowFailException: a test failed: another try would find the same.
    """
    from readmit.batches import verdicts

    target = Path(os.environ.get("DBT_TARGET_PATH", Path(project) / "target"))
    verdicts.log_models(target / "run_results.json")
    results = verdicts.read_test_results(target / "run_results.json")
    context["ti"].xcom_push(TEST_RESULTS, asdict(results))
    if results.failed:
        raise AirflowFailException(f"tests failed, see dbt_tests: {'; '.join(results.failed)}")


@task(trigger_rule=TriggerRule.ALL_DONE, executor_config=pod_of("verdict"))
@bad_data_is_final
def dbt_tests(ti: RuntimeTaskInstanceProtocol | None = None) -> None:
    """Give the verdict of dbt's tests, which are part of the build.

    After a fault Cosmos builds model by model, without tests: then they run here.
    """
    from readmit.batches import verdicts
    from readmit.batches.builds import Build

    build = ti.xcom_pull(task_ids="claim_build")
    if build is None or not _has_dbt_run(ti):
        raise AirflowSkipException("dbt did not run")
    with verdicts.record_rejection(Build(**build), PipelineSettings()):
        results = verdicts.TestResults(**(ti.xcom_pull(task_ids=PRODUCER, key=TEST_RESULTS) or {}))
        if not results.are_decisive:
            results = run_tests(Build(**build).schema_suffix)
        verdicts.check_tests(build["build_id"], results)


def _has_dbt_run(ti: RuntimeTaskInstanceProtocol) -> bool:
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[PRODUCER], run_ids=[ti.run_id])
    return states[ti.run_id].get(PRODUCER) != TaskInstanceState.UPSTREAM_FAILED


def run_tests(schema_suffix: str = "") -> "TestResults":
    """Run dbt's tests on the current build, in a process of their own.

    Its output is in the task's log.
    """
    from readmit.batches import verdicts

    dbt = str(Path(sys.executable).parent / "dbt")
    paths = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    variables = ["--vars", json.dumps({"schema_suffix": schema_suffix})]
    with TemporaryDirectory() as target:
        folders = {"DBT_TARGET_PATH": target, "DBT_LOG_PATH": target}
        subprocess.run(
            [dbt, "test", "--exclude-resource-type", "unit_test", *variables, *paths],
            env=os.environ | libpq.environment() | folders,
            check=False,
        )
        return verdicts.read_test_results(Path(target) / "run_results.json")
