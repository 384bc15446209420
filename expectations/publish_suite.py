"""The publish suite: the contract on the feature rows of a batch, and the accounting of all rows.

Types are not repeated here: dbt enforces them with the contract of the mart.
"""

import great_expectations.expectations as gxe
from great_expectations import ExpectationSuite
from great_expectations.expectations.expectation import Expectation

from readmit.contract.definition import Contract

KEYS = ("encounter_id", "patient_nbr", "split", "_batch_id")
SPLITS = ("train", "validation", "test")
MAX_QUARANTINED = 0.01
# A longer set of values is a code table. Whether every code is in it is a relationship, which dbt
# tests.
MAX_SET_SIZE = 40


def features(contract: Contract, n_rows: int) -> ExpectationSuite:
    """Return the suite of the feature rows of one build.

    Args:
        contract: the types and values of each feature.
        n_rows: the number of valid rows in staging.
    """
    expectations: list[Expectation] = [
        gxe.ExpectTableRowCountToEqual(
            value=n_rows, description="every valid row of staging, and no other"
        ),
        gxe.ExpectColumnValuesToBeUnique(column="encounter_id"),
        gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(SPLITS)),
    ]
    for name in (*KEYS, contract.label.name):
        expectations.append(gxe.ExpectColumnValuesToNotBeNull(column=name))
    for feature in contract.features:
        name = feature.name
        expectations.append(gxe.ExpectColumnValuesToNotBeNull(column=name))
        if feature.kind == "number" and feature.min is not None and feature.max is not None:
            in_range = gxe.ExpectColumnValuesToBeBetween(
                column=name, min_value=feature.min, max_value=feature.max
            )
            expectations.append(in_range)
        values = feature.allowed_values(contract)
        if feature.kind == "category" and 0 < len(values) <= MAX_SET_SIZE:
            in_set = gxe.ExpectColumnValuesToBeInSet(column=name, value_set=list(values))
            expectations.append(in_set)
    return ExpectationSuite(name="features", expectations=expectations)


def max_quarantined(n_rows: int) -> float:
    """Return the largest share of quarantined rows: 1 %, or one row where that is less than a row.

    Otherwise one bad row would reject the few new rows of an export that grows, night after night.
    """
    return max(MAX_QUARANTINED, 1 / max(1, n_rows))


def accounting(frequent_reasons: str = "", max_share: float = MAX_QUARANTINED) -> ExpectationSuite:
    """Return the suite of the table of counts, which has one row.

    The accounting holds when raw = staging = features + quarantined + excluded.

    Args:
        frequent_reasons: the most frequent reasons for quarantine; part of the error when the gate
            rejects.
        max_share: see `max_quarantined`.
    """
    share_meaning = (
        f"at most {MAX_QUARANTINED:.0%} of the rows, or one row, are quarantined:"
        " more make a bad batch"
    )
    if frequent_reasons:
        share_meaning += f", most often: {frequent_reasons}"
    return ExpectationSuite(
        name="accounting",
        expectations=[
            gxe.ExpectTableRowCountToEqual(value=1, description="the counts are one row"),
            gxe.ExpectColumnPairValuesToBeEqual(
                column_A="n_raw",
                column_B="n_staging",
                description="staging holds every row that arrived",
            ),
            gxe.ExpectColumnPairValuesToBeEqual(
                column_A="n_staging",
                column_B="n_accounted",
                description="every row is a feature row, quarantined or excluded",
            ),
            gxe.ExpectColumnMaxToBeBetween(
                column="share_quarantined",
                min_value=0,
                max_value=max_share,
                description=share_meaning,
            ),
        ],
    )
