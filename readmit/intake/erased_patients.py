"""Patients who were erased: rows that later files have of them are left out.

The database keeps a keyed hash of each, so it does not say who they are. The key is
READMIT_ERASURE_KEY. `readmit.ops.erasure` erases.
"""

import hmac
from dataclasses import dataclass

from psycopg2.extensions import cursor

from readmit.settings import ErasureKey

# What is hashed to recognise the key itself; no patient number looks like it.
KEY_CHECK = b"the key of erasures"


def normalised(patient_nbr: bytes | str) -> bytes:
    """Return a patient number without spaces around it and leading zeros, as splits read it."""
    number = patient_nbr.encode() if isinstance(patient_nbr, str) else patient_nbr
    return number.strip().lstrip(b"0")


def keyed_hash(text: bytes, settings: ErasureKey) -> str:
    """Return the HMAC-SHA256 of a text as hex.

    Raises:
        LookupError: READMIT_ERASURE_KEY is not set.
    """
    if settings.erasure_key is None:
        raise LookupError(
            "READMIT_ERASURE_KEY is not set: `make up` writes it into .env, `make k8s-up` into a"
            " Secret; after an erasure it must be the key of then"
        )
    return hmac.digest(settings.erasure_key.get_secret_value().encode(), text, "sha256").hex()


@dataclass(frozen=True)
class ErasedPatients:
    """The patients whose rows are left out, by their keyed hash."""

    hashes: frozenset[str]
    settings: ErasureKey

    @classmethod
    def read(cls, cur: cursor, settings: ErasureKey) -> "ErasedPatients":
        """Read who was erased.

        Raises:
            LookupError: patients were erased, and the key is another one or is not set.
        """
        cur.execute("select patient_hash, key_check from landing.erasures")
        rows = cur.fetchall()
        if rows:
            key_check = keyed_hash(KEY_CHECK, settings)
            if any(row_check != key_check for _, row_check in rows):
                raise LookupError(
                    "READMIT_ERASURE_KEY is another key than the one that patients were erased"
                    " with, so their rows would not be recognised: put that one back"
                )
        return cls(frozenset(patient_hash for patient_hash, _ in rows), settings)

    def __contains__(self, patient_nbr: object) -> bool:
        """Tell whether a patient was erased, by the number as it stands in a file."""
        if not self.hashes or not isinstance(patient_nbr, bytes):
            return False
        return keyed_hash(normalised(patient_nbr), self.settings) in self.hashes
