"""The whole stack, once for all end-to-end tests: `make up` in a folder and on ports of its own.

`make test` gives it a small made-up file; `make test-full DATASET=path` the real one.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from readmit.intake import sample
from readmit.settings import ROOT, StackSettings
from stack.airflow_api import Airflow
from tests.support import hostile_environment, stack

SECONDS_FOR_UP = 1500
N_ROWS = 4_000
# A model of so few rows ranks hardly better than chance: the floor is for real data.
SMALL = {
    "READMIT_BATCH_SIZE": 1_500,
    "READMIT_TRAINING_CANDIDATES": "logistic,lightgbm",
    "READMIT_PROMOTION_FLOOR": 0.5,
    "READMIT_BOOTSTRAP_REPLICATES": 100,
}


@dataclass(frozen=True)
class Running:
    """The stack under test."""

    settings: StackSettings
    airflow: Airflow
    source: Path
    is_real: bool
    output: str  # what `make up` printed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test waits for the stack: the limit of the other tiers would end it."""
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.timeout(SECONDS_FOR_UP + 900))


@pytest.fixture(scope="package")
def up(tmp_path_factory, pytestconfig):
    """Run `make up` to its end; stop everything at the end and see that nothing is left."""
    dataset = None
    if pytestconfig.option.markexpr != "not full":
        dataset = os.environ.get("DATASET")
    home = tmp_path_factory.mktemp("e2e")
    home.chmod(0o711)
    source, values = _source(home, dataset)
    with stack.environment(stack.write_env(home, READMIT_DATASET=source, **values)) as settings:
        # The shell has variables of many other projects: none of them may have an effect.
        completed = stack.make("up", seconds=SECONDS_FOR_UP, **hostile_environment.variables())
        assert completed.returncode == 0, completed.stdout[-4000:] + completed.stderr[-2000:]
        yield Running(settings, Airflow(settings), source, dataset is not None, completed.stdout)
        stopped = stack.run("stack.down")
        assert stopped.returncode == 0, stopped.stdout
        assert stack.leftovers(settings) == []


def _source(home: Path, dataset: str | None) -> tuple[Path, dict[str, object]]:
    if dataset:
        return (ROOT / Path(dataset).expanduser()).resolve(), {}
    path = home / "source.csv"
    sample.write_csv(path, N_ROWS)
    return path, dict(SMALL)


@pytest.fixture(scope="package")
def api_url(up) -> str:
    """Address of the API that serves the model."""
    return up.settings.api_url


@pytest.fixture(scope="package")
def ui_url(up) -> str:
    """Address of the web form."""
    return f"http://127.0.0.1:{up.settings.ui_port}"


@pytest.fixture(scope="package")
def docs_url(up) -> str:
    """Address of the docs site."""
    return f"http://127.0.0.1:{up.settings.docs_port}"
