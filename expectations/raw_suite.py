"""The raw suite: is this batch what the ledger says, and does it look like a batch of this source?

These are rules for a table. The rules for a single value stand once, in dbt's staging model, where
a bad value costs its row. Here a column fails when more than 1 % of its values do not have the
right form: then the file is wrong (swapped columns, another delimiter), not a row. One row is never
too many: the few new rows of an export that grows would be rejected again and again. The
distributions of some columns are compared with earlier batches, or with UCI's file for the first
batch: drift is a warning, a distribution with little in common is a failure.
"""

import great_expectations.expectations as gxe
from great_expectations import ExpectationSuite
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from readmit.intake.layout import DRUGS, LANDING_COLUMNS
from readmit.intake.source_values import DIAGNOSES, DOMAINS, DOSES, NUMBERS

BOOKKEEPING = ("_batch_id", "_source_row", "_loaded_at")
MOSTLY = 0.99
WHOLE_NUMBER = r"^[0-9]{1,18}$"
ICD9 = r"^(?:[0-9]{1,3}|V[0-9]{1,2}|E[0-9]{1,3})(?:\.[0-9]{1,2})?$"

# Columns whose distributions are compared with earlier batches. On the real file payer_code and
# medical_specialty move by up to 0.9, because hospitals began to record them; the stable columns
# never move by more than 0.2.
STABLE = ("race", "age", "admission_source_id", "a1cresult", "insulin", "readmitted")
WATCHED = (*STABLE, "payer_code", "medical_specialty")
# Columns that the source fills nearly always. The others (weight, payer_code, ...) are watched for
# drift instead.
FILLED = (*NUMBERS, *DOMAINS, "diag_1")
# Total variation distance: the share of rows whose value would have to change. 0 is equal, 1 has
# nothing in common.
DRIFT_WARNS = 0.2
DRIFT_FAILS = 0.8
MIN_LABEL_RATE = 0.02
MAX_LABEL_RATE = 0.5
SMALL = 200  # rows; the shares of a smaller batch mean nothing


def build(n_rows: int) -> ExpectationSuite:
    """Return the suite of one batch.

    Args:
        n_rows: the number of rows of the batch in the ledger.
    """
    expectations: list[Expectation] = [
        gxe.ExpectTableColumnsToMatchOrderedList(
            column_list=[*LANDING_COLUMNS, *BOOKKEEPING], description="the 50 columns of the source"
        ),
        gxe.ExpectTableRowCountToEqual(value=n_rows, description="as many rows as the ledger says"),
        gxe.ExpectColumnValuesToBeUnique(
            column="_source_row", description="each row of the file came once"
        ),
        gxe.ExpectColumnValuesToBeUnique(
            column="encounter_id",
            mostly=share_of_good_rows(n_rows, n_bad=2),
            description="a stay comes once; single repeats go to quarantine",
        ),
    ]
    mostly = share_of_good_rows(n_rows)
    expectations += _value_forms(mostly)
    for name in FILLED:
        expectations.append(gxe.ExpectColumnValuesToNotBeNull(column=name, mostly=mostly))
    if n_rows >= SMALL:
        expectations += _plausible_shares()
    return ExpectationSuite(name="raw", expectations=expectations)


def share_of_good_rows(n_rows: int, n_bad: int = 1) -> float:
    """Return the share of good rows below which a column fails.

    It is 99 %, and less in a small batch, where `n_bad` rows are more than 1 %. Half a row is added
    because shares are compared as floats.

    Args:
        n_rows: rows of the batch.
        n_bad: bad rows that any batch may have. A repeated stay counts as two.
    """
    return max(0.0, min(MOSTLY, 1 - (n_bad + 0.5) / max(1, n_rows)))


def drift() -> ExpectationSuite:
    """Return the suite of the table of distances: one row, with a column per watched column."""
    warns = [_distance(column, FailureSeverity.WARNING, DRIFT_WARNS) for column in WATCHED]
    fails = [_distance(column, FailureSeverity.CRITICAL, DRIFT_FAILS) for column in STABLE]
    return ExpectationSuite(name="drift", expectations=[*warns, *fails])


def _distance(column: str, severity: FailureSeverity, limit: float) -> Expectation:
    consequence = "the batch is rejected"
    if severity is FailureSeverity.WARNING:
        consequence = "a warning"
    return gxe.ExpectColumnMaxToBeBetween(
        column=column,
        min_value=0,
        max_value=limit,
        severity=severity,
        description=(
            f"distance of its values to the batches before: at most {limit}, above it {consequence}"
        ),
    )


def _value_forms(mostly: float) -> list[Expectation]:
    expectations: list[Expectation] = []
    for name in NUMBERS:
        expectations.append(
            gxe.ExpectColumnValuesToMatchRegex(column=name, regex=WHOLE_NUMBER, mostly=mostly)
        )
    for name, values in DOMAINS.items():
        expectations.append(
            gxe.ExpectColumnValuesToBeInSet(column=name, value_set=list(values), mostly=mostly)
        )
    for drug in DRUGS:
        column = drug.lower().replace("-", "_")
        expectations.append(
            gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(DOSES), mostly=mostly)
        )
    for name in DIAGNOSES:
        expectations.append(
            gxe.ExpectColumnValuesToMatchRegex(column=name, regex=ICD9, mostly=mostly)
        )
    return expectations


def _plausible_shares() -> list[Expectation]:
    return [
        gxe.ExpectColumnProportionOfUniqueValuesToBeBetween(column="patient_nbr", min_value=0.2),
        gxe.ExpectColumnDistinctValuesToContainSet(
            column="readmitted", value_set=["<30", ">30", "NO"]
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="readmitted",
            value_set=["<30"],
            mostly=MIN_LABEL_RATE,
            description=f"at least {MIN_LABEL_RATE:.0%} came back in 30 days",
        ),
        gxe.ExpectColumnValuesToNotBeInSet(
            column="readmitted",
            value_set=["<30"],
            mostly=1 - MAX_LABEL_RATE,
            description=f"at most {MAX_LABEL_RATE:.0%} came back",
        ),
    ]
