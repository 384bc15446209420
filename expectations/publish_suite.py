"""The publish suite: the contract on the batch's feature rows, and the accounting of every row that arrived.

Types are not repeated here: dbt enforces them as the mart's contract.
"""

import great_expectations.expectations as gxe
from great_expectations import ExpectationSuite
from great_expectations.expectations.expectation import Expectation

from readmit.contract.definition import Contract, Feature

KEYS = ("encounter_id", "patient_nbr", "split", "_batch_id")
SPLITS = ("train", "validation", "test")
MOST_QUARANTINED = 0.01
# A set of values this long is a code table: that every code is in it is a relationship, which dbt tests.
LONGEST_SET = 40


def features(contract: Contract, n_rows: int) -> ExpectationSuite:
    """Return the suite of the feature rows of one build.

    Args:
        contract: what each column must be.
        n_rows: rows that staging found valid.
    """
    expectations: list[Expectation] = [
        gxe.ExpectTableRowCountToEqual(
            value=n_rows, description="every valid row of staging, and no other"
        ),
        gxe.ExpectColumnValuesToBeUnique(column="encounter_id"),
        gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(SPLITS)),
        *(gxe.ExpectColumnValuesToNotBeNull(column=name) for name in (*KEYS, contract.label.name)),
    ]
    for feature in contract.features:
        expectations += _feature(feature, contract)
    return ExpectationSuite(name="features", expectations=expectations)


def _feature(feature: Feature, contract: Contract) -> list[Expectation]:
    name = feature.name
    found: list[Expectation] = [gxe.ExpectColumnValuesToNotBeNull(column=name)]
    if feature.kind == "number" and feature.min is not None and feature.max is not None:
        found.append(
            gxe.ExpectColumnValuesToBeBetween(
                column=name, min_value=feature.min, max_value=feature.max
            )
        )
    values = feature.allowed_values(contract)
    if feature.kind == "category" and 0 < len(values) <= LONGEST_SET:
        found.append(gxe.ExpectColumnValuesToBeInSet(column=name, value_set=list(values)))
    return found


def accounting(most_often: str = "") -> ExpectationSuite:
    """Return the suite of the one-row table of counts: raw = staging = features + quarantined + excluded.

    Args:
        most_often: why rows are held back, if some are; part of what a no says.
    """
    why = f", most often: {most_often}" if most_often else ""
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
                max_value=MOST_QUARANTINED,
                description=f"at most {MOST_QUARANTINED:.0%} of the rows are quarantined: more make a bad batch{why}",
            ),
        ],
    )
