"""Which split a patient belongs to: a stable function of `patient_nbr` alone."""

import hashlib
from typing import Literal

Split = Literal["validation", "test", "train"]

# The order of work: training never runs without validation rows.
ORDER: tuple[Split, ...] = ("validation", "test", "train")
TRAIN_SHARE = 0.70
VALIDATION_SHARE = 0.15
# Another salt would move patients between splits: never change it.
_SALT = hashlib.sha256(b"readmit split 1:")
_SCALE = float(2**64)


def split_of(patient_nbr: bytes | str | int) -> Split:
    """Return the split of a patient, the same in every file and on every machine.

    Args:
        patient_nbr: the number as it stands in the file. Spaces around it and leading zeros do
            not count.
    """
    text = patient_nbr
    if not isinstance(text, bytes):
        text = str(text).encode()
    digest = _SALT.copy()
    digest.update(text.strip().lstrip(b"0"))
    fraction = int.from_bytes(digest.digest()[:8], "big") / _SCALE
    if fraction < TRAIN_SHARE:
        return "train"
    if fraction < TRAIN_SHARE + VALIDATION_SHARE:
        return "validation"
    return "test"
