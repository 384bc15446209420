"""The raw suite: is this batch what the ledger says, and does it look like a batch of this source at all?

Table rules only. What a single value must be stands once, in dbt's staging model, and costs a row, not a batch; here a
column fails when more than 1 % of its values are not even of the right form, because then the file is wrong (swapped
columns, another delimiter), not a row. Distributions are compared with the batches before
(those of the first batch with the published file): drift warns, nonsense fails.
"""

import great_expectations.expectations as gxe
from great_expectations import ExpectationSuite
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from readmit.intake.layout import DRUGS, LANDING_COLUMNS

BOOKKEEPING = ("_batch_id", "_source_row", "_loaded_at")
MOSTLY = 0.99
WHOLE_NUMBER = r"^[0-9]{1,18}$"
ICD9 = r"^(?:[0-9]{1,3}|V[0-9]{1,2}|E[0-9]{1,3})(?:\.[0-9]{1,2})?$"

DOMAINS: dict[str, tuple[str, ...]] = {
    "gender": ("Female", "Male", "Unknown/Invalid"),
    "age": tuple(f"[{low}-{low + 10})" for low in range(0, 100, 10)),
    "max_glu_serum": ("None", "Norm", ">200", ">300"),
    "a1cresult": ("None", "Norm", ">7", ">8"),
    "change": ("No", "Ch"),
    "diabetesmed": ("No", "Yes"),
    "readmitted": ("NO", "<30", ">30"),
}
NUMBERS = (
    "encounter_id",
    "patient_nbr",
    "admission_type_id",
    "discharge_disposition_id",
    "admission_source_id",
    "time_in_hospital",
    "num_lab_procedures",
    "num_procedures",
    "num_medications",
    "number_outpatient",
    "number_emergency",
    "number_inpatient",
    "number_diagnoses",
)
DIAGNOSES = ("diag_1", "diag_2", "diag_3")
# Columns whose shares are compared with the batches before. On the real file payer_code and medical_specialty move by
# up to 0.9 (known drift: they began to be recorded); the stable ones never by more than 0.2.
STABLE = ("race", "age", "admission_source_id", "a1cresult", "insulin", "readmitted")
WATCHED = (*STABLE, "payer_code", "medical_specialty")
# Total variation distance: the share of rows whose value would have to be another. 0 is the same, 1 nothing in common.
DRIFT_WARNS, DRIFT_FAILS = 0.2, 0.8
LABEL_RATE = (0.02, 0.5)
SMALL = 200  # rows; shares of fewer say nothing


def build(n_rows: int) -> ExpectationSuite:
    """Return the suite of one batch of which the ledger says that it has `n_rows` rows."""
    return ExpectationSuite(
        name="raw", expectations=[*_schema(n_rows), *_forms(), *_plausible(n_rows)]
    )


def drift() -> ExpectationSuite:
    """Return the suite of the one-row table of distances: a column per watched column."""
    warns = [_distance(column, FailureSeverity.WARNING, DRIFT_WARNS) for column in WATCHED]
    fails = [_distance(column, FailureSeverity.CRITICAL, DRIFT_FAILS) for column in STABLE]
    return ExpectationSuite(name="drift", expectations=[*warns, *fails])


def _distance(column: str, severity: FailureSeverity, limit: float) -> Expectation:
    otherwise = "a warning" if severity is FailureSeverity.WARNING else "the batch is rejected"
    return gxe.ExpectColumnMaxToBeBetween(
        column=column,
        min_value=0,
        max_value=limit,
        severity=severity,
        description=f"distance of its values to the batches before: at most {limit}, above it {otherwise}",
    )


def _schema(n_rows: int) -> list[Expectation]:
    columns = [*LANDING_COLUMNS, *BOOKKEEPING]
    return [
        gxe.ExpectTableColumnsToMatchOrderedList(
            column_list=columns, description="the 50 columns of the source"
        ),
        gxe.ExpectTableRowCountToEqual(value=n_rows, description="as many rows as the ledger says"),
        gxe.ExpectColumnValuesToBeUnique(
            column="_source_row", description="each row of the file came once"
        ),
        gxe.ExpectColumnValuesToBeUnique(
            column="encounter_id",
            mostly=MOSTLY,
            description="a stay comes once; single repeats go to quarantine",
        ),
    ]


def _forms() -> list[Expectation]:
    found: list[Expectation] = [
        gxe.ExpectColumnValuesToMatchRegex(column=name, regex=WHOLE_NUMBER, mostly=MOSTLY)
        for name in NUMBERS
    ]
    found += [
        gxe.ExpectColumnValuesToBeInSet(column=name, value_set=list(values), mostly=MOSTLY)
        for name, values in DOMAINS.items()
    ]
    found += [
        gxe.ExpectColumnValuesToBeInSet(
            column=name.lower().replace("-", "_"), value_set=list(DOSES), mostly=MOSTLY
        )
        for name in DRUGS
    ]
    found += [
        gxe.ExpectColumnValuesToMatchRegex(column=name, regex=ICD9, mostly=MOSTLY)
        for name in DIAGNOSES
    ]
    return found


DOSES = ("No", "Steady", "Up", "Down")
# Columns that the source fills nearly always; the others (weight, payer_code, ...) are watched for drift instead.
FILLED = (*NUMBERS, *DOMAINS, "diag_1")


def _plausible(n_rows: int) -> list[Expectation]:
    found: list[Expectation] = [
        gxe.ExpectColumnValuesToNotBeNull(column=name, mostly=MOSTLY) for name in FILLED
    ]
    if n_rows < SMALL:
        return found
    low, high = LABEL_RATE
    return [
        *found,
        gxe.ExpectColumnProportionOfUniqueValuesToBeBetween(column="patient_nbr", min_value=0.2),
        gxe.ExpectColumnDistinctValuesToContainSet(
            column="readmitted", value_set=["<30", ">30", "NO"]
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="readmitted",
            value_set=["<30"],
            mostly=low,
            description=f"at least {low:.0%} came back in 30 days",
        ),
        gxe.ExpectColumnValuesToNotBeInSet(
            column="readmitted",
            value_set=["<30"],
            mostly=1 - high,
            description=f"at most {high:.0%} came back",
        ),
    ]
