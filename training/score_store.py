"""Scores of fits on disk: a measurement that was stopped continues where it stopped.

The folder is named after everything that a score depends on: rows, contract, seed, the code that
fits, and the versions of the libraries. A change of any of them begins anew.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import numpy as np

from readmit.settings import ROOT
from training import baselines, candidates, features
from training.model_metrics import Floats

MODULES = (baselines, candidates, features)


def key(
    fingerprint: str, contract_hash: str, seed: int, modules: Iterable[ModuleType] = MODULES
) -> str:
    """Return the name of the folder for these rows, this contract, this seed and this code."""
    digest = hashlib.sha256(f"{fingerprint} {contract_hash} {seed}".encode())
    for module in modules:
        digest.update(Path(str(module.__file__)).read_bytes())
    digest.update((ROOT / "requirements.lock").read_bytes())
    return digest.hexdigest()[:16]


class ScoreStore:
    """A folder of scores, one file for each fit."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, compute: Callable[[], Floats]) -> Floats:
        """Return the stored scores of a fit, or compute and store them."""
        path = self._folder / f"{name}.npy"
        if path.is_file():
            stored: Floats = np.load(path)
            return stored
        scores = compute()
        # Renamed when it is complete: a stop in the middle leaves no half of a file.
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.save(file, scores)
        partial.replace(path)
        return scores
