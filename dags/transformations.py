"""The dbt project as an Airflow task group: one visible task per model, one `dbt build` beneath them."""

import os
from pathlib import Path

from airflow.sdk import TaskGroup
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import ExecutionMode, InvocationMode, LoadMode, SeedRenderingBehavior, TestBehavior

PROJECT = Path(__file__).resolve().parent.parent / "dbt_project"


def dbt_task_group() -> TaskGroup:
    """Return the group `dbt`, parsed from the manifest so that no dbt runs while Airflow parses DAG files.

    WATCHER runs one `dbt build` and shows each model as a task of its own; a dbt process per model pays dbt's
    start-up for every model (measured in docs/adr/0003-cosmos-execution.md).
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
            execution_mode=ExecutionMode.WATCHER, invocation_mode=InvocationMode.DBT_RUNNER
        ),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_MANIFEST,
            emit_datasets=False,
            seed_rendering_behavior=SeedRenderingBehavior.ALWAYS,
            test_behavior=TestBehavior.BUILD,
        ),
    )
