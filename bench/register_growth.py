"""`register_growth`: what `register_best` takes with twice the rows, over what it takes with them.

The tasks of training are the real ones, on Postgres, S3 and a registry of the bench's own. Two
candidates stand for all: the trees of the forest grow with the rows, those of the others do not.
"""

import tempfile
import time
from pathlib import Path

from bench import private_services
from bench.figure import Figure
from bench.made_up_rows import make_rows
from readmit.contract.definition import Contract
from readmit.settings import StackSettings
from stack import temporary_services

ROWS = 30_000
CANDIDATES = ("random_forest", "lightgbm")
REPEATS = 2  # the first one imports


def measure() -> list[Figure]:
    """Register both candidates after a training on `ROWS` rows, and after one on twice as many."""
    growths = []
    details = []
    with tempfile.TemporaryDirectory() as folder:
        stack = temporary_services.fresh(Path(folder))
        private_services.dbt(stack, "parse", "--target-path", folder)
        contract = Contract.from_manifest(Path(folder) / "manifest.json")
        for candidate in CANDIDATES:
            before = _register_seconds(candidate, contract, ROWS, stack)
            after = _register_seconds(candidate, contract, 2 * ROWS, stack)
            growths.append(after / before)
            details.append(f"{candidate} {before:.1f} and {after:.1f} s")
    detail = f"CPU with {ROWS:,} and {2 * ROWS:,} made-up rows: {', '.join(details)}"
    return [Figure("register_growth", max(growths), "ratio", "<= 2", detail)]


def _register_seconds(
    candidate: str, contract: Contract, n_rows: int, stack: StackSettings
) -> float:
    """Fit a candidate on new rows; return the CPU time of its registration."""
    from mlflow import MlflowClient  # slow, and not needed to list the figures

    from training import jobs, snapshots
    from training.snapshots import Facts, Snapshot
    from training.training_settings import TrainingSettings

    registry = f"sqlite:///{stack.readmit_home}/mlflow.db"
    values = stack.model_dump(include=set(TrainingSettings.model_fields), exclude_unset=True)
    settings = TrainingSettings(**values | {"mlflow_tracking_uri": registry})
    client = MlflowClient(registry, registry)
    if client.get_experiment_by_name(jobs.EXPERIMENT) is None:
        client.create_experiment(jobs.EXPERIMENT, f"s3://{settings.s3_mlflow_bucket}/growth")
    rows = make_rows(contract, n_rows)
    counts = rows["split"].value_counts()
    facts = Facts(
        fingerprint=f"made-up-{n_rows}",
        data_source="bench",
        batches=sorted(rows["_batch_id"].unique()),
        n_train=int(counts["train"]),
        n_validation=int(counts["validation"]),
        n_test=int(counts["test"]),
        n_excluded=0,
        n_quarantined=0,
    )
    snapshots.store(Snapshot(facts, contract, rows), settings)
    run_id = jobs.fit(facts.fingerprint, candidate, settings)
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        jobs.register_best([run_id], settings)
        seconds.append(time.process_time() - began)
    return min(seconds)


MEASURES = {("register_growth",): measure}
