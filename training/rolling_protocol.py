"""What the parts of the second protocol of `make quality` share: rows, cuts and stored scores."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from readmit.contract.definition import Contract
from training import features, rolling_origin
from training.model_metrics import Bootstrap, Floats, Mask
from training.rolling_origin import Cut, Make
from training.score_store import ScoreStore


@dataclass(frozen=True)
class Protocol:
    """The rows in the order of the clock with their cuts, and where scores are stored."""

    contract: Contract
    rows: pd.DataFrame
    store: ScoreStore
    bootstrap: Bootstrap
    show: Callable[[str], None]

    @property
    def cuts(self) -> list[Cut]:
        """The cuts, earliest first."""
        return rolling_origin.cuts(len(self.rows))

    @property
    def y(self) -> Floats:
        """The outcomes, shape (n,)."""
        return features.labels(self.contract, self.rows).astype(np.float64)

    @property
    def patients(self) -> np.ndarray:
        """The patient of each row, shape (n,)."""
        return self.rows["patient_nbr"].to_numpy()

    @property
    def is_judged(self) -> Mask:
        """Whether a row lies after the first cut, shape (n,)."""
        return np.arange(len(self.rows)) >= self.cuts[0].first

    def matrix(self, name: str, make: Make) -> Floats:
        """Return the scores of all rows by the model of each cut, shape (cuts, n)."""
        scores = []
        for cut in self.cuts:
            fitted = self.store.get(
                f"rolling-{name}-{cut.first}",
                partial(rolling_origin.score_later, make, self.contract, self.rows, cut),
            )
            scores.append(fitted)
            self.show(f"{name}: cut {cut.number + 1} of {len(self.cuts)}")
        return np.array(scores)
