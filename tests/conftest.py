"""Fixtures of all tiers: real services, started when the first test asks for them, ended with the
test run.
"""

import gc
import json
import os
import shutil
import tempfile
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from readmit import open_files
from readmit.contract.definition import Contract
from readmit.ops.bootstrap import bootstrap
from readmit.settings import StackSettings
from stack.postgres import refuge_of
from stack.temporary_services import CLEAN_UP
from tests.support import dbt, services, shared

E2E = "tests/e2e/"
# Those that ask for `mlflow_server`: its set-up and start take 10 s of a core in each process.
MLFLOW = (
    "tests/integration/training/",
    "tests/integration/dags/test_task_logs.py",
    "tests/integration/readmit/ops/test_mlflow_server.py",
)
# Airflow and our settings read these when they are imported or created, so they are set before any
# test file is imported.
AWAY = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
    "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
    "SCARF_ANALYTICS": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "AWS_EC2_METADATA_DISABLED": "true",
    # Tests run on all cores already. More threads of one fit would only wait for each other.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def pytest_configure(config: pytest.Config) -> None:
    """Nothing that tests do reads this machine's `.env` or Airflow's folder of this user."""
    open_files.raise_limit()
    home = tempfile.mkdtemp(prefix="readmit-pytest-")
    config.add_cleanup(partial(shutil.rmtree, home, ignore_errors=True))
    os.environ.update(AWAY)
    os.environ["AIRFLOW_HOME"] = home
    os.environ["AIRFLOW__COSMOS__CACHE_DIR"] = str(Path(home) / "cosmos")
    os.environ.setdefault(shared.FOLDER, home)  # those of pytest-xdist inherit it
    os.environ["READMIT_ENV_FILE"] = str(Path(home) / "no.env")


def pytest_report_header() -> str | None:
    """Say so when the limit of open files is too low for some tests."""
    return open_files.raise_limit() or None


class ByFile(LoadScopeScheduling):
    """Tests of a file stay together, all end-to-end tests, which share the stack, and all that
    share an MLflow.

    The marks of `--dist loadgroup` do nothing with pytest 9.2 (pytest-xdist issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(E2E):
            return E2E
        if nodeid.startswith(MLFLOW):
            return MLFLOW[0]
        return nodeid.split("::", 1)[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """With `-n 3` files go to three processes, in the order in which they are named."""
    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """An ordinary user's run leaves out what only root does."""
    if os.geteuid() == 0:
        return
    only_root = [item for item in items if item.get_closest_marker("root")]
    config.hook.pytest_deselected(items=only_root)
    items[:] = [item for item in items if item not in only_root]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import all test files without looking for garbage: what they create stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Exclude the objects that the imports of all test files created from garbage collection."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the services of this process and delete their folder before the process is stopped.

    What root's servers keep below /var/lib, for folders of tests, goes with them.
    """
    CLEAN_UP.close()
    base = session.config._tmp_path_factory.getbasetemp()
    for depth in ("*", "*/*", "*/*/*"):
        for folder in base.glob(depth):
            shutil.rmtree(refuge_of(folder), ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """With CI=true a skipped test is a failure, so that no test is left out unnoticed."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest.fixture(scope="module", autouse=True)
def session_of_boto3() -> None:
    """MLflow takes boto3's default session, which keeps the keys that it was given first.

    They may be those of another file's object store.
    """
    import boto3  # most files need none

    boto3.DEFAULT_SESSION = None


@pytest.fixture(scope="session")
def dbt_manifest(tmp_path_factory) -> dict[str, Any]:
    """dbt's manifest, parsed now; `DBT_TARGET_PATH` leads Airflow's DAG files to it."""
    target = tmp_path_factory.mktemp("dbt-target")
    dbt.parse(target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DBT_TARGET_PATH", str(target))
        yield json.loads((target / "manifest.json").read_text())


@pytest.fixture(scope="session")
def contract(dbt_manifest) -> Contract:
    """The contract of that manifest."""
    return Contract.from_manifest(Path(os.environ["DBT_TARGET_PATH"]) / "manifest.json")


@pytest.fixture(scope="session")
def postgres() -> StackSettings:
    """StackSettings of a running Postgres with all databases and roles."""
    settings = StackSettings(**services.services())
    bootstrap(settings)
    return settings


@pytest.fixture(scope="session")
def s3(postgres) -> StackSettings:
    """StackSettings of a running object store with its buckets; it runs beside Postgres."""
    return postgres


@pytest.fixture(scope="session")
def mlflow_server() -> StackSettings:
    """StackSettings of a running MLflow (`mlflow_tracking_uri`) on that Postgres and object
    store.
    """
    return services.mlflow()
