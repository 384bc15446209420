"""A LACE-like rule from the columns of the contract: what wards use today. Pure.

LACE (van Walraven et al. 2010, CMAJ 182:551-557) adds points for Length of stay, Acuity of the
admission, Comorbidity (Charlson, with the weights of that paper) and Emergency visits; a patient
with 10 points or more is at high risk. It is LACE-like, because the data have three diagnoses of
a stay, not the whole record, and emergency visits of a year, not of six months.
"""

import numpy as np
import pandas as pd

from readmit.contract.definition import Contract
from training.model_metrics import Floats

HIGH_RISK = 10
ACUTE = ("emergency", "urgent", "trauma")
ACUTE_POINTS = 3
MOST_EMERGENCY_POINTS = 4
MOST_COMORBIDITY = 3
MOST_COMORBIDITY_POINTS = 5
# Days from which a stay has these points.
STAY_DAYS = np.array([1, 2, 3, 4, 7, 14])
STAY_POINTS = np.array([0, 1, 2, 3, 4, 5, 7])
DIABETES = 1  # Charlson weight of diabetes without complications

# ICD-9 prefixes of the conditions and their weights (Quan et al. 2005, Med Care 43:1130-1139, for
# the codes; the weights are those of LACE). 250.4 to 250.6 is diabetes that has harmed an organ.
CHARLSON = {
    "myocardial infarction": (1, ("410", "412")),
    "cerebrovascular disease": (1, ("430", "431", "432", "433", "434", "435", "436", "437", "438")),
    "peripheral vascular disease": (1, ("440", "441", "443", "V43")),
    "diabetes without complications": (DIABETES, ("250",)),
    "heart failure": (2, ("428",)),
    "diabetes with organ damage": (2, ("250.4", "250.5", "250.6")),
    "chronic pulmonary disease": (
        2,
        ("490", "491", "492", "493", "494", "495", "496", "500", "501", "502", "503", "504", "505"),
    ),
    "mild liver or renal disease": (2, ("571", "582", "583")),
    "tumour": (
        2,
        tuple(str(code) for code in (*range(140, 173), *range(174, 196), *range(200, 209))),
    ),
    "dementia": (3, ("290", "294")),
    "connective tissue disease": (3, ("710", "714", "725")),
    "AIDS": (4, ("042",)),
    "severe liver or renal disease": (4, ("572", "585", "586", "V56")),
    "metastatic tumour": (6, ("196", "197", "198", "199")),
}
DIAGNOSES = ("diagnosis_1", "diagnosis_2", "diagnosis_3")


def points(contract: Contract, rows: pd.DataFrame) -> Floats:
    """Return the points of each row, shape (n,), whole numbers from 0 to 19.

    Args:
        contract: has the codes of diagnoses.
        rows: with the inputs of the contract and the derived column `admission_type_group`.
    """
    length = STAY_POINTS[np.digitize(rows["length_of_stay_days"], STAY_DAYS)]
    acute = np.where(rows["admission_type_group"].isin(ACUTE), ACUTE_POINTS, 0)
    emergency = np.minimum(rows["n_emergency_visits"].to_numpy(), MOST_EMERGENCY_POINTS)
    sums = comorbidity(contract, rows)
    comorbid = np.where(sums > MOST_COMORBIDITY, MOST_COMORBIDITY_POINTS, sums)
    total: Floats = (length + acute + comorbid + emergency).astype(np.float64)
    return total


def comorbidity(contract: Contract, rows: pd.DataFrame) -> Floats:
    """Return the sum of the weights of the conditions that a stay's diagnoses name, shape (n,).

    Every patient of these data has diabetes, so each stay has at least its weight.
    """
    codes = contract.by_name[DIAGNOSES[0]].allowed_values(contract)
    conditions = {str(code): condition(str(code)) for code in codes}
    total = np.full(len(rows), float(DIABETES))
    for name, (weight, _) in CHARLSON.items():
        is_named = np.zeros(len(rows), dtype=np.bool_)
        for column in DIAGNOSES:
            is_named |= (rows[column].map(conditions) == name).to_numpy()
        if name == "diabetes with organ damage":
            # It replaces the milder form, which every stay has.
            total += (weight - DIABETES) * is_named
        elif name != "diabetes without complications":
            total += weight * is_named
    return total


def condition(code: str) -> str | None:
    """Return the condition that an ICD-9 code means: that of its longest prefix, or None."""
    by_length: dict[int, str] = {}
    for name, (_, prefixes) in CHARLSON.items():
        for prefix in prefixes:
            if code.startswith(prefix):
                by_length[len(prefix)] = name
    if not by_length:
        return None
    return by_length[max(by_length)]
