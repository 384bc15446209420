"""A no to a batch, written into the ledger before it is raised: from a gate, or from dbt's own tests."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from readmit.batches import builds, ledger
from readmit.errors import BatchRejected
from readmit.settings import PipelineSettings


@contextmanager
def recorded(
    batch_id: str, settings: PipelineSettings, *, of_build: bool = False
) -> Iterator[None]:
    """Reject the batch when the block says no to it; the next batch is not held up.

    Args:
        batch_id: the batch.
        settings: where the databases are.
        of_build: the block looks at what dbt made of the batch; a no counts while dbt's place is still the batch's.

    Raises:
        BatchRejected: what the block raised, once the ledger holds the reason.
        BuildLost: another build took dbt's place: the rows that were looked at are not the batch's, or not all of it.
    """
    try:
        yield
    except BatchRejected as verdict:
        if of_build:
            builds.ensure_build_lock(batch_id, settings)
        ledger.reject(batch_id, str(verdict), settings)
        raise


def check_dbt_tests(batch_id: str, run_results: Path) -> None:
    """Turn failed dbt tests into a verdict on the batch.

    A test that fails looked at the rows; another try gives the same answer. A model that cannot be built (`error`)
    says nothing of the rows: the database went away, or the code is wrong. That is left to retries.

    Args:
        batch_id: the batch that dbt built.
        run_results: `run_results.json` of the run; a run that was killed leaves none.

    Raises:
        BatchRejected: tests failed; the message names them.
    """
    if failed := failed_tests(run_results):
        raise BatchRejected(f"{batch_id}: dbt tests failed: {'; '.join(failed)}")


def failed_tests(run_results: Path) -> list[str]:
    """Return the name and the message of each dbt test that found rows it must not find."""
    # test.<project>.<name>[.<hash>]
    return [
        f"{found['unique_id'].split('.')[2]} ({found['message']})"
        for found in _results(run_results)
        if found["status"] == "fail"
    ]


def all_tests_passed(run_results: Path) -> bool:
    """Tell whether this run of dbt ran tests and all of them passed; a run that was killed leaves no results."""
    tests = [
        found["status"] for found in _results(run_results) if found["unique_id"].startswith("test.")
    ]
    return bool(tests) and set(tests) <= {"pass", "warn"}


def _results(run_results: Path) -> list[dict[str, Any]]:
    if not run_results.is_file():
        return []
    found: list[dict[str, Any]] = json.loads(run_results.read_text(encoding="utf-8"))["results"]
    return found
