"""No build is rejected in silence: a table names verdict and reason, and a run of rejections fails."""

from io import StringIO
from itertools import cycle

import pytest
from rich.console import Console

from readmit.batches.builds import Build
from readmit.errors import BatchRejected
from readmit.settings import StackSettings
from stack import outcomes, pipeline
from stack.outcomes import Outcome

REASON = (
    "raw gate: batch {build}: max_glu_serum: expect_column_values_to_be_in_set {{'mostly': 0.99}}: "
    "{n} of 1060 rows do not fit; age: expect_column_values_to_not_be_null {{}}: found 3 "
    "(details: http://127.0.0.1:8088/gx/{build}/raw.html)"
)


def rejected(build_id: str, n_rows: int = 900) -> Outcome:
    return Outcome(build_id, "batch", "rejected", REASON.format(build=build_id, n=n_rows))


PUBLISHED = Outcome("validation-001-aa", "batch", "published", "")


def test_table_names_verdict_first_reason_and_page():
    console = Console(file=StringIO(), width=300)
    settings = StackSettings(docs_port=8088)
    console.print(outcomes.table([PUBLISHED, rejected("train-001-aa")], settings))
    lines = console.file.getvalue().splitlines()
    assert lines[1].split() == [
        "validation-001-aa",
        "published",
        "http://127.0.0.1:8088/gx/validation-001-aa/publish.html",
    ]
    assert "raw gate: max_glu_serum: expect_column_values_to_be_in_set" in lines[2]
    assert "900 of 1060 rows do not fit" in lines[2]
    assert lines[2].rstrip().endswith("http://127.0.0.1:8088/gx/train-001-aa/raw.html")
    assert "age:" not in lines[2]


def test_summary_counts_batches_and_corrections_apart():
    correction = Outcome("validation-001-aa+r1", "correction", "published", "")
    assert outcomes.summary([PUBLISHED, correction, rejected("train-001-aa")]) == (
        "2 batches and 1 correction: 2 published, 1 rejected"
    )
    assert outcomes.summary([]) == "0 batches: nothing was waiting"


def test_run_in_which_all_are_rejected_ends_with_the_shared_reason():
    console = Console(file=StringIO(), width=300)
    all_rejected = [rejected("train-001-aa", 900), rejected("train-002-aa", 870)]
    with pytest.raises(
        BatchRejected, match=r"^all 2 batches were rejected: raw gate: max_glu_serum: .* 900 of"
    ):
        outcomes.stop_if_all_rejected(all_rejected, StackSettings(), console)
    assert "train-002-aa" in console.file.getvalue()


def test_most_frequent_reason_is_named_when_they_differ():
    other = Outcome("test-001-aa", "batch", "rejected", "dbt tests failed: unique (2)")
    with pytest.raises(
        BatchRejected, match=r"all 3 batches were rejected, 2 of them for one reason: raw gate: max"
    ):
        outcomes.stop_if_all_rejected(
            [other, rejected("train-001-aa"), rejected("train-002-aa")],
            StackSettings(),
            Console(file=StringIO()),
        )


@pytest.mark.parametrize("ended", [[], [PUBLISHED], [PUBLISHED, rejected("train-001-aa")]])
def test_run_that_published_something_goes_on(ended):
    outcomes.stop_if_all_rejected(ended, StackSettings(), Console(file=StringIO()))


class Failing:
    """A stub of Airflow whose runs fail after a second."""

    def __init__(self, _settings=None):
        self.n_runs = 0
        self._states = cycle(["running", "failed"])

    def active(self, _dag_id):
        return []

    def trigger(self, _dag_id):
        self.n_runs += 1
        return f"run {self.n_runs}"

    def run(self, _dag_id, _run_id):
        return {"state": next(self._states)}

    def task_progress(self, _dag_id, run_id):
        return f"{run_id} runs"

    def failed_task(self, _dag_id, _run_id):
        return "raw_gate"


def test_make_pipeline_fails_at_once_when_all_batches_are_rejected(monkeypatch, capsys):
    builds = [Build.of_batch("train-001-aa"), Build.of_batch("train-002-aa")]
    waiting = iter([builds, builds[1:], []])
    monkeypatch.setattr(pipeline.claims, "waiting", lambda _: next(waiting))
    monkeypatch.setattr(
        pipeline, "outcomes_of", lambda ended, _: [rejected(build.build_id) for build in ended]
    )
    monkeypatch.setattr(pipeline.time, "sleep", lambda _: None)
    monkeypatch.setattr(pipeline, "stack_settings", StackSettings)
    monkeypatch.setattr(pipeline, "Airflow", Failing)
    monkeypatch.setattr(pipeline, "unpause", lambda *_: None)
    monkeypatch.setattr(pipeline, "train", lambda *_: pytest.fail("nothing was published"))
    assert pipeline.main([]) == 1
    output = capsys.readouterr()
    assert "build 2 of 2" in output.out
    assert "train-002-aa" in output.out
    assert "error: all 2 batches were rejected: raw gate: max_glu_serum" in output.err
