"""The embedded sample: made-up encounters in the layout and with the frequencies of the real file.

It is what runs when the real data cannot be reached, and what tests use. Patients repeat, missing values are `?`,
frequencies drift from the first rows to the last, and the label can be learned: from the stay itself and from the
patient's earlier stays. No row is taken from the real file; only frequencies are (data card in docs/).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from readmit.intake.layout import COLUMNS, DRUGS

REAL_ROWS = 101_766
SEED = 20_140_101

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Texts = NDArray[np.str_]

# Frequencies as "value:weight ..."; where two tables stand, rows move from the first (early) to the second (late).
STAYS = "1:54745 2:10434 3:3328 4:1421 5:717 6:346 7:207 8:111 9:70 10:42 11:20 12:19 15:9 20:4 28:2 40:1"
RACE = "Caucasian:748 AfricanAmerican:189 ?:22 Hispanic:20 Other:15 Asian:6"
GENDER = "Female:53760 Male:46237 Unknown/Invalid:3"
AGES = [f"[{low}-{low + 10})" for low in range(0, 100, 10)]
AGE = "0:161 1:691 2:1657 3:3775 4:9685 5:17256 6:22483 7:26068 8:17197 9:2793"
WEIGHT = (
    "?:96860 [75-100):1313 [50-75):881 [100-125):614 [125-150):142 [25-50):95 [0-25):47 [150-175):34 [175-200):11"
    " >200:3"
)
ADMISSION_TYPE = "1:530 3:185 2:182 6:60 5:40 8:3"
ADMISSION_TYPE_LATE = "1:535 3:186 2:180 6:40 5:55 7:1 4:1"
DISPOSITION = "1:6020 3:1200 6:1080 18:620 2:210 22:60 11:160 5:130 25:150 4:80 7:60 23:10 14:20 8:10 10:1 9:2"
DISPOSITION_LATE = (
    "1:5820 3:1540 6:1440 18:120 2:210 22:330 11:165 5:105 25:50 4:80 7:62 23:70 13:80 14:54 28:28 15:12 24:10 17:3"
    " 16:2 19:2 27:1 12:1 20:1"
)
ADMISSION_SOURCE = "7:480 1:230 17:150 4:35 6:25 2:14 5:9 3:3 20:4 9:2 8:1 10:1"
ADMISSION_SOURCE_LATE = "7:670 1:290 17:15 4:28 6:20 2:8 5:8 3:1 9:1 22:1 11:1 25:1 13:1 14:1"
PAYER = "?:930 MC:45 HM:15 BC:6 SP:4"
PAYER_LATE = "?:80 MC:460 HM:95 SP:80 BC:70 MD:55 CP:40 UN:38 CM:30 OG:16 PO:10 DM:9 CH:3 WC:2 OT:2 MP:1 SI:1"
SPECIALTY = (
    "?:390 InternalMedicine:210 Emergency/Trauma:40 Family/GeneralPractice:95 Cardiology:70 Surgery-General:45"
    " Nephrology:15 Orthopedics:18 Orthopedics-Reconstructive:15 Radiologist:12 Pulmonology:10 Psychiatry:14"
    " Urology:10 ObstetricsandGynecology:10 Pediatrics:6 Surgery-Neuro:8 Oncology:5"
)
SPECIALTY_LATE = (
    "?:690 InternalMedicine:60 Emergency/Trauma:110 Family/GeneralPractice:45 Cardiology:35 Surgery-General:15"
    " Nephrology:17 Orthopedics:9 Orthopedics-Reconstructive:9 Radiologist:10 Pulmonology:7 Gastroenterology:8"
    " Surgery-Vascular:8 PhysicalMedicineandRehabilitation:7 Surgery-Cardiovascular/Thoracic:6 Endocrinology:2"
    " Hematology/Oncology:3 Neurology:2 Podiatry:2 Psychology:1 Hospitalist:1 Otolaryngology:1"
)
DAYS = "1:142 2:172 3:178 4:139 5:100 6:75 7:59 8:44 9:30 10:23 11:19 12:14 13:12 14:10"
PROCEDURES = "0:458 1:204 2:125 3:93 6:49 4:41 5:30"
DIAGNOSES = "9:300 5:170 8:110 7:130 6:130 4:90 3:45 2:20 1:5"
DIAGNOSES_LATE = "9:665 5:55 8:100 7:75 6:65 4:22 3:10 2:3 16:1 10:1 13:1"
DIAG_1 = (
    "428:686 414:658 786:402 410:361 486:351 427:277 491:228 715:215 682:204 434:203 780:202 996:197 276:189 38:169"
    " 250.8:168 599:160 584:152 V57:121 250.6:118 518:112 820:108 577:106 493:106 435:102 562:99 574:97 296:90 560:88"
    " 250.7:87 250.13:85 440:84 433:79 998:78 722:77 250.02:68 578:66 250.11:63 507:61 789:56 453:55 530:53 8:52"
    " 403:51 535:45 402:45 ?:2 153:30 162:28 218:12 233:4 278:25 401:22 571:20 648:10 719:18 824:30 E909:1 V58:24"
)
DIAG_2 = (
    "276:675 428:666 250:607 427:504 401:374 496:331 599:329 403:282 414:265 411:257 250.02:207 707:200 585:187"
    " 584:165 491:155 250.01:152 285:152 780:149 425:143 682:143 486:138 518:136 424:107 413:104 250.6:90 493:88"
    " 305:70 786:64 280:61 998:57 410:55 511:52 785:52 38:48 996:45 272:42 571:41 197:41 V45:41 295:41 440:41 ?:36"
    " 577:40 162:40 560:39 788:39 E878:15 E849:4 V42:12"
)
DIAG_3 = (
    "250:1156 401:829 276:518 428:458 427:396 414:366 496:261 403:236 585:199 272:197 599:194 ?:142 V45:139 250.02:137"
    " 707:136 780:133 285:120 425:114 250.6:108 424:106 584:96 305:92 250.01:92 682:89 518:85 41:73 493:69 278:68"
    " 530:63 786:58 491:57 486:57 244:54 V58:50 250.4:43 411:40 280:40 357:39 785:39 E932:8 E947:5"
)
GLUCOSE = "None:9475 Norm:255 >200:146 >300:124"
A1C = "None:8328 >8:807 Norm:490 >7:375"
INSULIN = "No:545 Steady:304 Up:55 Down:85"
INSULIN_LATE = "No:395 Steady:300 Up:157 Down:152"
# Parts in 100,000 of Steady, Up and Down; the rest is No. What is not named is always No.
ORAL_DRUGS = {
    "metformin": (18028, 1048, 565),
    "repaglinide": (1360, 108, 44),
    "nateglinide": (656, 24, 11),
    "chlorpropamide": (78, 6, 1),
    "glimepiride": (4589, 321, 191),
    "acetohexamide": (1, 0, 0),
    "glipizide": (11159, 757, 550),
    "glyburide": (9113, 798, 554),
    "tolbutamide": (23, 0, 0),
    "pioglitazone": (6855, 230, 116),
    "rosiglitazone": (5994, 175, 85),
    "acarbose": (290, 10, 3),
    "miglitol": (30, 2, 5),
    "troglitazone": (3, 0, 0),
    "tolazamide": (37, 1, 0),
    "glyburide-metformin": (680, 8, 6),
    "glipizide-metformin": (13, 0, 0),
    "glimepiride-pioglitazone": (1, 0, 0),
    "metformin-rosiglitazone": (2, 0, 0),
    "metformin-pioglitazone": (1, 0, 0),
}
DEATH_OR_HOSPICE = ("11", "13", "14", "19", "20", "21")
# Log-odds that a stay is followed by another within 30 days, on top of the patient's own frailty.
DISPOSITION_EFFECT = {
    "22": 0.9,
    "5": 0.6,
    "2": 0.35,
    "3": 0.3,
    "28": 0.9,
    "15": 0.8,
    "4": 0.1,
    "6": 0.15,
}
DIAGNOSIS_EFFECT = {
    "428": 0.25,
    "434": 0.35,
    "820": 0.3,
    "V57": 0.35,
    "250.6": 0.2,
    "786": -0.3,
    "715": -0.3,
}


def write_csv(path: Path, n_rows: int = REAL_ROWS, seed: int = SEED) -> None:
    """Write the sample as the real file is written: header, commas, CR LF, no quotes. Same arguments, same bytes."""
    columns = generate(n_rows, seed)
    rows = zip(*(columns[name].tolist() for name in COLUMNS), strict=True)
    text = "\r\n".join([",".join(COLUMNS), *map(",".join, rows), ""])
    part = path.with_suffix(".part")
    part.write_bytes(text.encode("ascii"))
    part.replace(path)


def generate(n_rows: int = REAL_ROWS, seed: int = SEED) -> dict[str, Texts]:
    """Make `n_rows` encounters in order of `encounter_id`.

    Args:
        n_rows: at least 1.
        seed: same seed and size, same values.

    Returns:
        The 50 columns by name, each `n_rows` texts.
    """
    if n_rows < 1:
        raise ValueError(f"n_rows is {n_rows}; at least 1 row can be made")
    rng = np.random.default_rng(seed)
    patient, stay, n_stays = _stays(rng, n_rows)
    late = np.linspace(0.0, 1.0, n_rows)
    frailty = _frailty(rng, n_stays)[patient]
    columns = {"encounter_id": _texts(12_522 + np.cumsum(rng.integers(1, 8_722, n_rows)))}
    columns |= _person(rng, patient)
    columns |= _admission(rng, late) | _utilisation(rng, stay, frailty, late) | _drugs(rng, late)
    is_last = stay == n_stays[patient] - 1
    _end_of_life(columns, is_last)
    columns["readmitted"] = _label(rng, columns, stay, frailty, is_last)
    return {name: columns[name] for name in COLUMNS}


def _stays(rng: np.random.Generator, n_rows: int) -> tuple[Ints, Ints, Ints]:
    """Spread patients over the rows: for each row its patient and which stay it is; for each patient how many."""
    drawn = _pick(rng, STAYS, n_rows).astype(np.int64)
    n_patients = int(np.searchsorted(np.cumsum(drawn), n_rows)) + 1
    patient = rng.permutation(np.repeat(np.arange(n_patients), drawn[:n_patients])[:n_rows])
    n_stays = np.bincount(patient, minlength=n_patients)
    by_patient = np.argsort(patient, kind="stable")
    first_of = np.cumsum(n_stays) - n_stays
    stay = np.empty(n_rows, dtype=np.int64)
    stay[by_patient] = np.arange(n_rows) - first_of[patient[by_patient]]
    return patient, stay, n_stays


def _frailty(rng: np.random.Generator, n_stays: Ints) -> Floats:
    """One number per patient, mean about 0; who stays often is frailer."""
    return rng.normal(0.0, 0.75, len(n_stays)) + 0.35 * np.log(n_stays) - 0.1


def _person(rng: np.random.Generator, patient: Ints) -> dict[str, Texts]:
    n_patients = int(patient.max()) + 1
    numbers = 135 + rng.choice(189_000_000, n_patients, replace=False)
    decade = _pick(rng, AGE, n_patients).astype(np.int64)
    return {
        "patient_nbr": _texts(numbers[patient]),
        "race": _pick(rng, RACE, n_patients)[patient],
        "gender": _pick(rng, GENDER, n_patients)[patient],
        "age": np.array(AGES)[decade[patient]],
        "weight": _pick(rng, WEIGHT, len(patient)),
    }


def _admission(rng: np.random.Generator, late: Floats) -> dict[str, Texts]:
    return {
        "admission_type_id": _drift(rng, ADMISSION_TYPE, ADMISSION_TYPE_LATE, late),
        "discharge_disposition_id": _drift(rng, DISPOSITION, DISPOSITION_LATE, late),
        "admission_source_id": _drift(rng, ADMISSION_SOURCE, ADMISSION_SOURCE_LATE, late),
        "payer_code": _drift(rng, PAYER, PAYER_LATE, late**0.6),
        "medical_specialty": _drift(rng, SPECIALTY, SPECIALTY_LATE, late),
        "diag_1": _pick(rng, DIAG_1, len(late)),
        "diag_2": _pick(rng, DIAG_2, len(late)),
        "diag_3": _pick(rng, DIAG_3, len(late)),
        "number_diagnoses": _drift(rng, DIAGNOSES, DIAGNOSES_LATE, late),
        "max_glu_serum": _pick(rng, GLUCOSE, len(late)),
        "A1Cresult": _pick(rng, A1C, len(late)),
    }


def _utilisation(
    rng: np.random.Generator, stay: Ints, frailty: Floats, late: Floats
) -> dict[str, Texts]:
    n = len(stay)
    days = _pick(rng, DAYS, n).astype(np.int64)
    days = np.clip(days + rng.poisson(np.exp(frailty - 1.2)), 1, 14)
    strain = np.exp(frailty)
    return {
        "time_in_hospital": _texts(days),
        "num_lab_procedures": _texts(
            np.clip(rng.normal(38 + 1.2 * days, 18.5), 1, 132).astype(np.int64)
        ),
        "num_procedures": _pick(rng, PROCEDURES, n),
        "num_medications": _texts(
            np.clip(rng.gamma(3.6, (3.0 + 0.3 * days), n), 1, 81).astype(np.int64)
        ),
        "number_outpatient": _texts(np.clip(rng.poisson(rng.gamma(0.18, 1.5 + late, n)), 0, 42)),
        "number_emergency": _texts(np.clip(rng.poisson(rng.gamma(0.16, 1.0, n) * strain), 0, 76)),
        "number_inpatient": _texts(
            np.clip(rng.poisson(0.3 * strain + 0.35 * np.minimum(stay, 6)), 0, 21)
        ),
    }


def _drugs(rng: np.random.Generator, late: Floats) -> dict[str, Texts]:
    """23 drugs, and the two columns that follow from them: `diabetesMed` exactly, `change` as in the real file."""
    n = len(late)
    drugs = {name: np.full(n, "No", dtype="U6") for name in DRUGS}
    drugs["insulin"] = _drift(rng, INSULIN, INSULIN_LATE, late)
    for name, (steady, up, down) in ORAL_DRUGS.items():
        drugs[name] = _pick(
            rng, f"No:{100_000 - steady - up - down} Steady:{steady} Up:{up} Down:{down}", n
        )
    table = np.stack(list(drugs.values()))
    is_given = (table != "No").any(axis=0)
    is_moved = ((table == "Up") | (table == "Down")).any(axis=0)
    is_changed = is_moved | (is_given & (rng.random(n) < 0.38))
    return drugs | {
        "change": np.where(is_changed, "Ch", "No"),
        "diabetesMed": np.where(is_given, "Yes", "No"),
    }


def _end_of_life(columns: dict[str, Texts], is_last: NDArray[np.bool_]) -> None:
    """Only a patient's last stay can end in death or hospice; elsewhere the patient went home."""
    dispositions = columns["discharge_disposition_id"]
    columns["discharge_disposition_id"] = np.where(
        np.isin(dispositions, DEATH_OR_HOSPICE) & ~is_last, np.array("1"), dispositions
    )


def _label(
    rng: np.random.Generator,
    columns: Mapping[str, Texts],
    stay: Ints,
    frailty: Floats,
    is_last: NDArray[np.bool_],
) -> Texts:
    """`<30`, `>30` or `NO`: by frailty, what the row shows, and whether a later stay follows."""
    odds = (
        0.9 * frailty
        + 0.16 * np.minimum(columns["number_inpatient"].astype(np.int64), 6)
        + 0.08 * np.minimum(columns["number_emergency"].astype(np.int64), 6)
        + 0.12 * np.minimum(stay, 5)
        + 0.02 * columns["time_in_hospital"].astype(np.int64)
        + _effect(columns["discharge_disposition_id"], DISPOSITION_EFFECT)
        + _effect(columns["diag_1"], DIAGNOSIS_EFFECT)
    )
    is_soon = rng.random(len(stay)) < 1 / (1 + np.exp(-(odds - np.where(is_last, 3.35, 2.1))))
    is_later = rng.random(len(stay)) < np.where(is_last, 0.19, 0.98)
    label = np.where(is_soon, "<30", np.where(is_later, ">30", "NO"))
    is_dead = np.isin(columns["discharge_disposition_id"], ("11", "19", "20", "21"))
    return cast(Texts, np.where(is_dead, "NO", label))


def _effect(values: Texts, effects: Mapping[str, float]) -> Floats:
    total = np.zeros(len(values))
    for value, effect in effects.items():
        total[values == value] = effect
    return total


def _pick(rng: np.random.Generator, table: str, n: int) -> Texts:
    """Draw `n` values from a table of frequencies."""
    pairs = [entry.rsplit(":", 1) for entry in table.split()]
    weights = np.array([float(weight) for _, weight in pairs])
    cumulated = np.cumsum(weights / weights.sum())
    places = np.minimum(np.searchsorted(cumulated, rng.random(n), side="right"), len(pairs) - 1)
    return cast(Texts, np.array([value for value, _ in pairs])[places])


def _drift(rng: np.random.Generator, early: str, late_table: str, late: Floats) -> Texts:
    """Draw from the early table at the start of the file, from the late one at its end, and mixed in between."""
    n = len(late)
    return cast(
        Texts, np.where(rng.random(n) < late, _pick(rng, late_table, n), _pick(rng, early, n))
    )


def _texts(numbers: NDArray[np.integer]) -> Texts:
    return numbers.astype(np.str_)
