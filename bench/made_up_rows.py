"""Rows of the mart made up from the contract.

Legal values, a signal to learn, patients with several stays.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from readmit.contract.definition import Contract
from readmit.contract.derivation import derive_frame
from training import features

# Numbers stay near their minimum, as most do in real stays.
NUMBERS_ABOVE_MINIMUM = 12
N_CODES = 40


def make_rows(contract: Contract, n: int = 1200, seed: int = 0) -> pd.DataFrame:
    """Return `n` rows with the columns and types of the mart; the same seed gives the same rows."""
    rng = np.random.default_rng(seed)
    columns: dict[str, NDArray[np.generic]] = {}
    for feature in (*contract.inputs, *contract.history):
        if feature.min is not None and feature.max is not None:
            top = min(feature.max, feature.min + NUMBERS_ABOVE_MINIMUM)
            columns[feature.name] = rng.integers(int(feature.min), int(top) + 1, n)
        else:
            codes = list(feature.allowed_values(contract))[:N_CODES]
            columns[feature.name] = rng.choice(np.array(codes, dtype=object), n)
    frame = derive_frame(contract, pd.DataFrame(columns))
    frame["encounter_id"] = np.arange(n) + 1
    frame["patient_nbr"] = rng.integers(0, n // 2, n)
    share = frame["patient_nbr"] % 10
    frame["split"] = np.select([share < 6, share < 8], ["train", "validation"], "test")
    frame["_batch_id"] = frame["split"] + "-00" + (1 + np.arange(n) % 2).astype(str)
    is_changed = frame["is_medication_changed"].astype(float)
    score = -3 + 0.25 * frame["n_inpatient_visits"] + 0.8 * is_changed
    frame[contract.label.name] = rng.random(n) < 1 / (1 + np.exp(-score.astype(float)))
    types = features.pandas_types(contract)
    return frame[list(types)].astype(types)
