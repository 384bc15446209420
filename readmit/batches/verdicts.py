"""Record the verdict on a build before it is raised: from a gate, or from dbt's own tests."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from readmit.batches.builds import Build
from readmit.errors import BatchRejected
from readmit.settings import PipelineSettings

log = logging.getLogger("readmit")

NO_COUNT = -1  # rows of a statement that tells no number, such as `create table as`


class TestsDidNotRun(Exception):
    """dbt's tests could not be run to their end: a fault, no verdict on the rows."""

    __test__ = False  # pytest must not collect it


class NodeResult(TypedDict):
    """What dbt says of a node in `run_results.json`, as far as it is read here."""

    unique_id: str
    status: str
    message: str | None
    execution_time: float
    adapter_response: dict[str, object]


@dataclass(frozen=True)
class TestResults:
    """The tests of one run of dbt.

    Attributes:
        failed: the name and the message of each test that found rows it must not find.
        have_passed: whether tests ran, and none of them failed, broke or was left out.
        n_tests: how many tests the run had.
    """

    __test__ = False  # pytest must not collect it

    failed: list[str] = field(default_factory=list)
    have_passed: bool = False
    n_tests: int = 0

    @property
    def are_decisive(self) -> bool:
        """Whether they say yes or no to the rows; a run that a fault ended early says neither."""
        return self.have_passed or bool(self.failed)


@contextmanager
def record_rejection(build: Build, settings: PipelineSettings) -> Iterator[None]:
    """Record the rejection that the block raises; the next build is not held up.

    Raises:
        BatchRejected: what the block raised, once it is recorded.
        BuildLost: another build has taken the build lock: the rows that were judged are not those
        of this build.
    """
    try:
        yield
    except BatchRejected as rejection:
        build.reject(str(rejection), settings)
        raise


def read_test_results(run_results: Path) -> TestResults:
    """Read the results of dbt's tests from `run_results.json`.

    A run that was killed leaves no file, and so no results.

    A test that fails looked at the rows; another try gives the same answer. A node that cannot be
    built (`error`) says nothing of the rows: the database went away, or the code is wrong. That is
    left to retries.
    """
    tests = []
    failed = []
    for result in _results(run_results):
        if not result["unique_id"].startswith("test."):
            continue
        tests.append(result)
        if result["status"] == "fail":
            name = result["unique_id"].split(".")[2]  # test.<project>.<name>[.<hash>]
            failed.append(f"{name} ({result['message']})")
    statuses = {result["status"] for result in tests}
    have_passed = bool(tests) and statuses <= {"pass", "warn"}
    return TestResults(failed, have_passed, len(tests))


def log_models(run_results: Path) -> None:
    """Log what dbt did with each model: the status, the rows that it wrote and the seconds."""
    for result in _results(run_results):
        if result["unique_id"].startswith("model."):
            n_rows = result["adapter_response"].get("rows_affected", NO_COUNT)
            log.info(
                "dbt %s: %s%s, %.1f s",
                result["unique_id"].rpartition(".")[2],
                result["status"],
                "" if n_rows == NO_COUNT else f", {n_rows} rows",
                result["execution_time"],
            )


def check_tests(build_id: str, results: TestResults) -> None:
    """Turn the results of dbt's tests into a verdict on the build.

    Raises:
        BatchRejected: tests failed; the message names them.
        TestsDidNotRun: a fault kept them from running; try again.
    """
    if results.failed:
        raise BatchRejected(f"{build_id}: dbt tests failed: {'; '.join(results.failed)}")
    if not results.have_passed:
        raise TestsDidNotRun(f"{build_id}: dbt's tests did not all run; its output is above")
    log.info("%s: all %d tests of dbt passed", build_id, results.n_tests)


def _results(run_results: Path) -> list[NodeResult]:
    if not run_results.is_file():
        return []
    results: list[NodeResult] = json.loads(run_results.read_text(encoding="utf-8"))["results"]
    return results
