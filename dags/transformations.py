"""The dbt project as an Airflow task group: one visible task per model, one `dbt build` beneath them."""

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airflow.sdk import Context, TaskGroup
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import (
    ExecutionMode,
    InvocationMode,
    LoadMode,
    SeedRenderingBehavior,
    TestBehavior,
)

from readmit.settings import PipelineSettings
from shared import bad_data_is_final

PROJECT = Path(__file__).resolve().parent.parent / "dbt_project"
TESTED = "tests_passed"  # XCom of the task that ran dbt


def dbt_task_group() -> TaskGroup:
    """Return the group `dbt`, parsed from the manifest so that no dbt runs while Airflow parses DAG files.

    WATCHER runs one `dbt build`; a task per model follows it (measured: docs/adr/0003-cosmos-execution.md). Seeds and
    tests are part of that build and have no tasks: Cosmos leaves tests out of it unless the flag asks for them.
    """
    return DbtTaskGroup(
        group_id="dbt",
        project_config=ProjectConfig(
            dbt_project_path=PROJECT,
            manifest_path=Path(os.environ.get("DBT_TARGET_PATH", PROJECT / "target"))
            / "manifest.json",
            install_dbt_deps=False,
        ),
        profile_config=ProfileConfig(
            profile_name="readmit",
            target_name="default",
            profiles_yml_filepath=PROJECT / "profiles.yml",
        ),
        execution_config=ExecutionConfig(
            execution_mode=ExecutionMode.WATCHER,
            invocation_mode=InvocationMode.DBT_RUNNER,
            setup_operator_args={
                "dbt_cmd_flags": ["--resource-type", "test"],
                "callback": reject_failed_tests,
            },
        ),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_MANIFEST,
            emit_datasets=False,
            seed_rendering_behavior=SeedRenderingBehavior.NONE,
            test_behavior=TestBehavior.NONE,
        ),
        operator_args={"poke_interval": 1},
    )


@bad_data_is_final
def reject_failed_tests(project: str, context: Context, **_: Any) -> None:  # noqa: ANN401 (Cosmos may add arguments)
    """Called by Cosmos after dbt, in the task that ran it: a failed test is a verdict on the batch, not a fault."""
    from readmit.batches import verdicts

    results = Path(os.environ.get("DBT_TARGET_PATH", Path(project) / "target")) / "run_results.json"
    # A release has no batch of its own to reject: its run fails, and the rows stay in quarantine.
    batch_id = context["ti"].xcom_pull(task_ids="load")
    with (
        verdicts.recorded(batch_id, PipelineSettings(), of_build=True)
        if batch_id
        else nullcontext()
    ):
        verdicts.check_dbt_tests(batch_id or context["dag"].dag_id, results)
    context["ti"].xcom_push(TESTED, verdicts.all_tests_passed(results))


def ensure_tested(build_id: str, ti: Any) -> None:  # noqa: ANN401 (Airflow's task instance)
    """Run dbt's tests unless the build ran them: after a fault Cosmos builds model by model, and those have none.

    Raises:
        BatchRejected: a test failed.
        RuntimeError: the tests could not be run.
    """
    from readmit.batches import verdicts

    if ti.xcom_pull(task_ids="dbt.dbt_producer_watcher", key=TESTED):
        return
    with TemporaryDirectory() as target:
        command = [
            str(Path(sys.executable).parent / "dbt"),
            "test",
            "--exclude-resource-type",
            "unit_test",
        ]
        command += ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
        done = subprocess.run(
            command,
            env=os.environ | {"DBT_TARGET_PATH": target, "DBT_LOG_PATH": target},
            check=False,
        )
        results = Path(target) / "run_results.json"
        verdicts.check_dbt_tests(build_id, results)
        if done.returncode or not verdicts.all_tests_passed(results):
            raise RuntimeError(
                f"{build_id}: dbt test ended with {done.returncode}; its output is above"
            )
