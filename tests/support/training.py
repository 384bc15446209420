"""Rows of the mart, made up from the contract: every feature legal, a learnable signal, patients with several stays."""

import numpy as np
import pandas as pd

from readmit.contract.definition import Contract
from readmit.contract.derivation import derive_frame
from training import features


def column(feature, contract, rng, n):
    if feature.kind == "number":
        top = min(feature.max, feature.min + 12)
        return rng.integers(int(feature.min), int(top) + 1, n)
    values = list(feature.allowed_values(contract))[:40]
    return rng.choice(np.array(values, dtype=object), n)


def make_rows(contract: Contract, n: int = 1200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    given = {f.name: column(f, contract, rng, n) for f in (*contract.inputs, *contract.history)}
    frame = derive_frame(contract, pd.DataFrame(given))
    frame["encounter_id"] = np.arange(n) + 1
    frame["patient_nbr"] = rng.integers(0, n // 2, n)
    share = frame["patient_nbr"] % 10
    frame["split"] = np.select([share < 6, share < 8], ["train", "validation"], "test")
    frame["_batch_id"] = frame["split"] + "-00" + (1 + np.arange(n) % 2).astype(str)
    score = (
        -3 + 0.25 * frame["n_inpatient_visits"] + 0.8 * frame["is_medication_changed"].astype(float)
    )
    frame[contract.label.name] = rng.random(n) < 1 / (1 + np.exp(-score.astype(float)))
    types = features.pandas_types(contract)
    return frame[list(types)].astype(types)
