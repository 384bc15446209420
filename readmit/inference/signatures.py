"""Signed statements about models: no files are served but those that a decision was about.

A statement names the model, its version, the decision and the sha256 of every file. The program
that decides signs it with an ed25519 key. A program that loads the model has the public key only,
and compares the files before it reads any of them. Keys are 32 bytes in URL-safe base64 (RFC 8032),
as `generate_keys` returns them.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

# The name of the signed statement beside the files that it is about.
FILE_NAME = "signature.json"


class NotSigned(Exception):
    """A model is not the one that was signed; the message says what differs."""


@dataclass(frozen=True)
class Statement:
    """The files that a decision was about.

    `files` maps each path below the model's folder to its sha256 in hex.
    """

    model: str
    version: str
    decision_id: str
    files: Mapping[str, str]


def generate_keys() -> tuple[str, str]:
    """Return a new private key and its public key."""
    private_key = _encode(Ed25519PrivateKey.generate().private_bytes_raw())
    return private_key, public_key_of(private_key)


def public_key_of(private_key: str) -> str:
    """Return the public key of a private key."""
    return _encode(_private_key(private_key).public_key().public_bytes_raw())


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file below `folder` by its path.

    The signature's own file is left out.
    """
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != FILE_NAME:
            with path.open("rb") as file:
                files[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return files


def sign(statement: Statement, private_key: str) -> str:
    """Return the statement and its signature as one JSON document."""
    text = json.dumps(asdict(statement), sort_keys=True)
    signature = _private_key(private_key).sign(text.encode())
    return json.dumps({"statement": text, "signature": _encode(signature)})


def verify(document: str, public_keys: str) -> Statement:
    """Return the statement of a signed document.

    Args:
        document: from `sign`.
        public_keys: the trusted keys by comma: today's, and those of before that still hold.

    Raises:
        NotSigned: it is no signed document, or none of these keys signed it.
    """
    try:
        content = json.loads(document)
        text = str(content["statement"])
        signature = _decode(str(content["signature"]))
        for public_key in public_keys.split(","):
            key = Ed25519PublicKey.from_public_bytes(_decode(public_key.strip()))
            try:
                key.verify(signature, text.encode())
            except InvalidSignature:
                continue
            return Statement(**json.loads(text))
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise NotSigned(f"the signed statement cannot be read: {error}") from error
    raise NotSigned("the signature was made with another key")


def is_of_today(document: str, public_keys: str) -> bool:
    """Return whether the first of the trusted keys, today's, has signed a document."""
    try:
        verify(document, public_keys.partition(",")[0])
    except NotSigned:
        return False
    return True


def read(document: str) -> Statement:
    """Return the statement of a signed document without verifying its signature: for who has no
    key, and trusts the database that the document comes from.

    Raises:
        NotSigned: it is no signed document.
    """
    try:
        return Statement(**json.loads(str(json.loads(document)["statement"])))
    except (ValueError, KeyError, TypeError) as error:
        raise NotSigned(f"the signed statement cannot be read: {error}") from error


def check_files(statement: Statement, folder: Path, required: Iterable[str] = ()) -> None:
    """Compare the files of a folder with a statement.

    A signed file that is not there is no fault.

    Args:
        statement: from `verify`.
        folder: the model's folder, or a part of its files.
        required: paths that must be there.

    Raises:
        NotSigned: a file is missing, was not signed, or has other bytes.
    """
    present = digests(folder)
    missing = sorted(set(required) - present.keys())
    if missing:
        raise NotSigned(f"version {statement.version}: {', '.join(missing)} is missing")
    for name, sha256 in present.items():
        if name not in statement.files:
            raise NotSigned(f"version {statement.version}: {name} was not signed")
        if statement.files[name] != sha256:
            raise NotSigned(f"version {statement.version}: {name} is not the file that was signed")


def _private_key(text: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(_decode(text))


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode())
