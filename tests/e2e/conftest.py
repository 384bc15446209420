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
}


@dataclass(frozen=True)
class Running:
    """The stack under test."""

    settings: StackSettings
    airflow: Airflow
    source: Path
    is_real: bool
    said: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test waits for the stack: the limit of the other tiers would end it."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(SECONDS_FOR_UP + 900))


@pytest.fixture(scope="package")
def up(tmp_path_factory, pytestconfig):
    """Run `make up` to its end; stop everything at the end and see that nothing is left."""
    given = os.environ.get("DATASET") if pytestconfig.option.markexpr != "not full" else None
    home = tmp_path_factory.mktemp("e2e")
    home.chmod(0o711)
    source, values = _source(home, given)
    with stack.environment(stack.write_env(home, READMIT_DATASET=source, **values)) as settings:
        # In the shell of somebody with many other projects: nothing of them may come in.
        done = stack.make("up", seconds=SECONDS_FOR_UP, **hostile_environment.variables())
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        yield Running(settings, Airflow(settings), source, given is not None, done.stdout)
        stopped = stack.run("stack.down")
        assert stopped.returncode == 0, stopped.stdout
        assert stack.leftovers(settings) == []


def _source(home: Path, given: str | None) -> tuple[Path, dict[str, object]]:
    if given:
        return (ROOT / Path(given).expanduser()).resolve(), {}
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
