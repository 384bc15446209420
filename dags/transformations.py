"""The dbt project as an Airflow task group: one visible task per model, one `dbt build` beneath them."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from airflow.sdk import Context, TaskGroup
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import ExecutionMode, InvocationMode, LoadMode, SeedRenderingBehavior, TestBehavior

from shared import bad_data_is_final

PROJECT = Path(__file__).resolve().parent.parent / "dbt_project"


def dbt_task_group() -> TaskGroup:
    """Return the group `dbt`, parsed from the manifest so that no dbt runs while Airflow parses DAG files.

    WATCHER runs one `dbt build`; a task per model follows it (measured: docs/adr/0003-cosmos-execution.md). Seeds and
    tests are part of that build and have no tasks: Cosmos leaves tests out of it unless the flag asks for them.
    """
    return DbtTaskGroup(
        group_id="dbt",
        project_config=ProjectConfig(
            dbt_project_path=PROJECT,
            manifest_path=Path(os.environ.get("DBT_TARGET_PATH", PROJECT / "target")) / "manifest.json",
            install_dbt_deps=False,
        ),
        profile_config=ProfileConfig(
            profile_name="readmit", target_name="default", profiles_yml_filepath=PROJECT / "profiles.yml"
        ),
        execution_config=ExecutionConfig(
            execution_mode=ExecutionMode.WATCHER,
            invocation_mode=InvocationMode.DBT_RUNNER,
            setup_operator_args={"dbt_cmd_flags": ["--resource-type", "test"], "callback": reject_failed_tests},
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
    from readmit import verdicts

    target = Path(os.environ.get("DBT_TARGET_PATH", Path(project) / "target"))
    # A release has no batch of its own to reject: its run fails, and the rows stay in quarantine.
    batch_id = context["ti"].xcom_pull(task_ids="load")
    with verdicts.recorded(batch_id) if batch_id else nullcontext():
        verdicts.check_dbt_tests(batch_id or context["dag"].dag_id, target / "run_results.json")
