"""The dbt project as an Airflow task group: a visible task per model, one `dbt build`."""

import os
from pathlib import Path

from airflow.configuration import conf
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TaskGroup, TriggerRule
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import (
    ExecutionMode,
    InvocationMode,
    LoadMode,
    SeedRenderingBehavior,
    TestBehavior,
)
from cosmos.operators.watcher import DbtConsumerWatcherSensor, DbtProducerWatcherOperator

from dbt_producer import WatchedModelsProducer
from dbt_verdict import share_test_results
from model_trigger import log_model, start_in_triggerer
from pod_kinds import pod_of
from readmit import libpq

DONE = "dbt.dbt_producer_watcher_done"  # Cosmos' end of the task that runs dbt
# `load` and `raw_gate` are skipped for a correction; a run that claimed nothing skips dbt as well.
STARTS_AFTER_A_SKIP = TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS
# dbt's schemas of a rebuild, which must not touch the live ones (readmit/batches/rebuilds.py).
SCHEMA_SUFFIX = (
    "{{ '_next' if (ti.xcom_pull(task_ids='claim_build') or {}).get('kind') == 'rebuild' else '' }}"
)
PROJECT = Path(__file__).resolve().parent.parent / "dbt_project"
# At most so many models are built at once, each with a task that waits for it.
WAITING_TASKS = 3

RENDER_CONFIG = RenderConfig(
    load_method=LoadMode.DBT_MANIFEST,
    exclude=["resource_type:exposure"],  # Cosmos has no task for it, and warns each time
    emit_datasets=False,
    seed_rendering_behavior=SeedRenderingBehavior.NONE,
    test_behavior=TestBehavior.NONE,
    ephemeral_models_as_empty_operator=True,
)
EXECUTION_CONFIG = ExecutionConfig(
    execution_mode=ExecutionMode.WATCHER,
    invocation_mode=InvocationMode.DBT_RUNNER,
    setup_operator_args={
        "dbt_cmd_flags": ["--resource-type", "test"],
        "callback": share_test_results,
    },
)


def tasks_wait_in_triggerer() -> bool:
    """Return whether the tasks of models wait in Airflow's triggerer.

    One that waits by itself ends sooner. It takes a pod, or a slot, and there must be a slot left
    for dbt, should it be tried again.
    """
    has_pods = "KubernetesExecutor" in conf.get("core", "executor")
    return has_pods or conf.getint("core", "parallelism") <= WAITING_TASKS


def dbt_task_group() -> TaskGroup:
    """Return the group `dbt`.

    It is made from the manifest, so that no dbt runs while Airflow reads the DAG files.

    WATCHER runs one `dbt build`; a task per model follows it (measured:
    docs/adr/0003-cosmos-execution.md). An ephemeral model is a step of the one that it is written
    into: its task is empty. Seeds and tests are part of the build and have no tasks: Cosmos leaves
    tests out of it unless the flag asks for them.
    """
    group = DbtTaskGroup(
        group_id="dbt",
        project_config=ProjectConfig(
            dbt_project_path=PROJECT,
            manifest_path=Path(os.environ.get("DBT_TARGET_PATH", PROJECT / "target"))
            / "manifest.json",
            install_dbt_deps=False,
            env_vars=libpq.environment(),
        ),
        profile_config=ProfileConfig(
            profile_name="readmit",
            target_name="default",
            profiles_yml_filepath=PROJECT / "profiles.yml",
        ),
        execution_config=EXECUTION_CONFIG,
        render_config=RENDER_CONFIG,
        operator_args={
            "executor_config": pod_of("dbt"),
            "vars": {"schema_suffix": SCHEMA_SUFFIX},
            "poke_interval": 0.5,
            "deferrable": False,
            "trigger_rule": STARTS_AFTER_A_SKIP,
        },
    )
    for child in group.children.values():
        if isinstance(child, DbtProducerWatcherOperator):
            child.__class__ = WatchedModelsProducer  # Cosmos has no setting for the class
        if isinstance(child, DbtConsumerWatcherSensor):
            child.on_success_callback = [*child.on_success_callback, log_model]
            if tasks_wait_in_triggerer():
                start_in_triggerer(child)
        if isinstance(child, EmptyOperator):
            child.on_success_callback = []  # without a callback it costs no process
            if child.task_id != DONE:
                child.trigger_rule = STARTS_AFTER_A_SKIP
    return group
