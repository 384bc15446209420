"""Files that are copied with a digest and, when there is a key, encrypted.

An encrypted file is a header, 16 random bytes, and the content in chunks of 1 MB. Each chunk is
sealed by AES-256-GCM; its nonce is the number of the chunk and a mark of the last one, so chunks
cannot be moved, left out or cut off (STREAM; Hoang, Reyhanitabar, Rogaway, Vizár, CRYPTO 2015).
Each file has a key of its own, by HKDF from the key, the random bytes and the file's name: a file
that is put in the place of another cannot be read.
"""

import base64
import binascii
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from typing_extensions import Buffer

CHUNK = 1 << 20
HEADER = b"readmit sealed 1\n"
SALT_BYTES = 16
TAG_BYTES = 16
KEY_BYTES = 32


class Damaged(Exception):
    """A file was not written by us with this key, or has changed since."""


class BadKey(Exception):
    """A key is not 32 bytes in base64."""


class Readable(Protocol):
    """What is copied: a file, a pipe or the body of an object."""

    def read(self, amt: int, /) -> bytes:
        """Return up to `amt` bytes; an empty text at the end."""
        ...


def decode_key(text: str) -> bytes:
    """Return the bytes of a key, such as `openssl rand -base64 32` prints.

    Raises:
        BadKey: it is no base64, or not 32 bytes.
    """
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise BadKey("is not 32 bytes in base64: `openssl rand -base64 32` makes one")
    return key


def is_sealed(path: Path) -> bool:
    """Return whether a file is encrypted."""
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER


@dataclass(frozen=True)
class Sealer:
    """Writes and reads files, encrypted when there is a key.

    Attributes:
        key: 32 bytes, or None.
    """

    key: bytes | None = None

    def write(self, source: Readable, path: Path, name: str) -> str:
        """Copy a stream into a new file, and wait until it is on the disk.

        Args:
            source: what is read, until its end.
            path: the file; nothing has this name yet, not even a link.
            name: of the content; the same name is needed to read the file.

        Returns:
            The sha256 of the file's bytes.
        """
        digest = sha256()
        with path.open("xb") as file:
            for block in self._blocks(source, name):
                file.write(block)
                digest.update(block)
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()

    def _blocks(self, source: Readable, name: str) -> Iterator[bytes]:
        """Yield what stands in the file."""
        if self.key is None:
            while block := source.read(CHUNK):
                yield block
            return
        salt = os.urandom(SALT_BYTES)
        yield HEADER + salt
        cipher = _cipher(self.key, salt, name)
        number = 0
        chunk = _read_full(source)
        while True:
            following = b""
            if len(chunk) == CHUNK:
                following = _read_full(source)
            yield cipher.encrypt(_nonce(number, is_last=not following), chunk, None)
            if not following:
                return
            chunk = following
            number += 1

    def chunks(self, path: Path, name: str) -> Iterator[bytes]:
        """Yield the content of a file.

        Raises:
            Damaged: the file is encrypted and there is no key, or the other way round; another
                key, another name; or its bytes have changed.
        """
        if is_sealed(path) != (self.key is not None):
            raise Damaged(f"{path.name} is " + ("not encrypted" if self.key else "encrypted"))
        with path.open("rb") as file:
            if self.key is None:
                while block := file.read(CHUNK):
                    yield block
                return
            file.seek(len(HEADER))
            cipher = _cipher(self.key, file.read(SALT_BYTES), name)
            n_left = path.stat().st_size - file.tell()
            number = 0
            while True:
                block = file.read(CHUNK + TAG_BYTES)
                n_left -= len(block)
                try:
                    yield cipher.decrypt(_nonce(number, is_last=n_left <= 0), block, None)
                except InvalidTag:
                    raise Damaged(f"{path.name} is damaged, or has another key") from None
                if n_left <= 0:
                    return
                number += 1

    def open(self, path: Path, name: str) -> io.BufferedReader:
        """Return the content of a file as a stream."""
        return io.BufferedReader(_Content(self.chunks(path, name)), CHUNK)

    def read(self, path: Path, name: str) -> bytes:
        """Return the content of a small file."""
        return b"".join(self.chunks(path, name))


class _Content(io.RawIOBase):
    """A stream of chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer") -> int:
        target = memoryview(buffer)
        if not self._rest:
            self._rest = next(self._chunks, b"")
        n_bytes = min(len(target), len(self._rest))
        target[:n_bytes] = self._rest[:n_bytes]
        self._rest = self._rest[n_bytes:]
        return n_bytes


def _cipher(key: bytes, salt: bytes, name: str) -> AESGCM:
    derived = HKDF(SHA256(), length=KEY_BYTES, salt=salt, info=name.encode()).derive(key)
    return AESGCM(derived)


def _nonce(number: int, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


def _read_full(source: Readable) -> bytes:
    """Read a whole chunk: pipes return less."""
    parts = []
    n_missing = CHUNK
    while n_missing and (part := source.read(n_missing)):
        parts.append(part)
        n_missing -= len(part)
    return b"".join(parts)
