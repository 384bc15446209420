"""The section `published` of `build/quality.json`: published approaches by their protocol and ours.

Our protocols are those of the candidate: the same stays, folds, cuts and intervals. The models are
fitted without the rows of the deceased, and see no made-up row among the tested ones.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd
from rich.table import Table
from sklearn.base import clone
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline

from readmit.intake.layout import COLUMNS
from training import model_metrics, published, rolling_origin
from training.model_metrics import Bootstrap, Estimate, Floats, Ranking
from training.published import APPROACHES, AS_PUBLISHED, Approach
from training.rolling_protocol import Protocol

REPLICATES = 400


class Step(TypedDict):
    """The figures of a protocol; accuracy is that of the class at a probability of 0.5."""

    n: int
    auroc: float
    accuracy: float


class PublishedResult(TypedDict):
    """A published approach: its figures, and those that it has here."""

    source: str
    licence: str
    published: dict[str, float]
    by_their_protocol: dict[str, Step]
    by_patient: Estimate
    rolling_origin: Estimate


@dataclass(frozen=True)
class Source:
    """The rows of the source file in the order of time, and the positions of the mart's stays."""

    rows: pd.DataFrame
    positions: np.ndarray


def find_source(home: Path) -> Path | None:
    """Return the newest source file that `make up` has unpacked, or None."""
    files = sorted((home / "sources").glob("*/*.csv"), key=lambda path: path.stat().st_mtime)
    return files[-1] if files else None


def read_source(path: Path, protocol: Protocol) -> Source | None:
    """Read the source file; None when it is not that of the mart's rows.

    A row whose numbers cannot be read is left out: the mart does not have it either.
    """
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    if not set(COLUMNS) <= set(rows.columns):
        return None
    numbers = [rolling_origin.CLOCK, *published.COUNTS]
    for name in numbers:
        rows[name] = pd.to_numeric(rows[name], errors="coerce")
    rows = rolling_origin.in_order(rows.dropna(subset=numbers))
    positions = pd.Index(rows[rolling_origin.CLOCK]).get_indexer(
        protocol.rows[rolling_origin.CLOCK]
    )
    if (positions < 0).any():
        return None
    return Source(published.prepared(rows), positions)


def measure(
    source: Source, protocol: Protocol, splits: StratifiedGroupKFold, seed: int
) -> dict[str, PublishedResult]:
    """Measure each approach by its own protocol, by folds of patients and by rolling origin.

    Args:
        source: rows of the source file.
        protocol: the stays of the mart, cuts and bootstrap; the store is of these approaches.
        splits: the folds of the candidate.
        seed: of the models and of their protocols.
    """
    results: dict[str, PublishedResult] = {}
    for name, approach in APPROACHES.items():
        protocol.show(f"published: {name}")
        results[name] = {
            "source": approach.source,
            "licence": approach.licence,
            "published": dict(approach.published),
            "by_their_protocol": _by_theirs(approach, source, seed),
            "by_patient": _by_patient(name, approach.make(seed), source, protocol, splits),
            "rolling_origin": _by_rolling_origin(name, approach.make(seed), source, protocol),
        }
    return results


def table(results: dict[str, PublishedResult]) -> Table:
    """Return the AUROC of each approach as a table: published, by their protocol, by ours."""
    columns = Table(
        "approach", "published", "by their protocol", "by patient", "by rolling origin", box=None
    )
    for name, result in results.items():
        published_auroc = result["published"].get("auroc")
        columns.add_row(
            name,
            "-" if published_auroc is None else str(published_auroc),
            f"{result['by_their_protocol'][AS_PUBLISHED]['auroc']:.3f}",
            f"{result['by_patient']['figure']:.3f}",
            f"{result['rolling_origin']['figure']:.3f}",
        )
    return columns


def _by_theirs(approach: Approach, source: Source, seed: int) -> dict[str, Step]:
    steps: dict[str, Step] = {}
    for step, tested in approach.protocol(approach.make(seed), source.rows, seed).items():
        is_right = (tested.p > 0.5) == (tested.y == 1)
        steps[step] = {
            "n": len(tested.y),
            "auroc": Ranking(tested.y, tested.p).auroc(np.ones(len(tested.y))),
            "accuracy": float(is_right.mean()),
        }
    return steps


def _by_patient(
    name: str, model: Pipeline, source: Source, protocol: Protocol, splits: StratifiedGroupKFold
) -> Estimate:
    stays = source.rows.iloc[source.positions]
    y = published.outcomes(stays)
    p = np.full(len(stays), np.nan)
    folds = splits.split(stays, y, protocol.patients)
    for number, (train, test) in enumerate(folds, start=1):
        p[test] = protocol.store.get(
            f"folds-{name}-{number}", partial(_scores, model, stays.iloc[train], stays.iloc[test])
        )
    return _auroc(y, p, protocol.patients, protocol.bootstrap)


def _by_rolling_origin(name: str, model: Pipeline, source: Source, protocol: Protocol) -> Estimate:
    stays = source.rows.iloc[source.positions]
    p = np.full(len(stays), np.nan)
    for cut in protocol.cuts:
        earlier = stays.iloc[: cut.first]
        following = stays.iloc[cut.first : cut.end]
        p[cut.first : cut.end] = protocol.store.get(
            f"rolling-{name}-{cut.first}", partial(_scores, model, earlier, following)
        )
    is_judged = protocol.is_judged
    y = published.outcomes(stays)[is_judged]
    return _auroc(y, p[is_judged], protocol.patients[is_judged], protocol.bootstrap)


def _scores(model: Pipeline, train: pd.DataFrame, test: pd.DataFrame) -> Floats:
    return published.probabilities(clone(model).fit(train, published.outcomes(train)), test)


def _auroc(y: Floats, p: Floats, patients: np.ndarray, bootstrap: Bootstrap) -> Estimate:
    replicates = min(REPLICATES, bootstrap.replicates)
    samples = model_metrics.resampled(patients, replace(bootstrap, replicates=replicates))
    return model_metrics.estimate(Ranking(y, p).auroc, samples)
