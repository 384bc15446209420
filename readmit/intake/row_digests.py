"""The digest of a row in canonical form, and the key of its stay: how equal rows are recognised."""

import hashlib

from readmit.intake.csv_fields import values_of

DIGEST_BYTES = 16  # 128 bits of the sha256: what a uuid holds
ENCOUNTER_COLUMN = 0


def digest_of(line: bytes) -> str:
    """Return the digest of a row in canonical form as hex."""
    return hashlib.sha256(line).digest()[:DIGEST_BYTES].hex()


def encounter_key(line: bytes) -> str:
    """Return the number of the stay, without spaces around it and leading zeros.

    It is empty when the row has no number: nobody can then say which stay it is.
    """
    value = line.split(b",", 1)[ENCOUNTER_COLUMN]
    if b'"' in value:
        value = values_of(line)[ENCOUNTER_COLUMN]
    number = value.strip().lstrip(b"0")
    if not number.isdigit():
        return ""
    return number.decode()
