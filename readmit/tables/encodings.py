"""The encoding of a source file, decided by its first bytes; UTF-16 is read as UTF-8."""

import codecs
from dataclasses import dataclass
from io import BufferedReader, BytesIO, FileIO, RawIOBase
from typing import cast

CHUNK_BYTES = 1 << 16
N_FIRST_BYTES = 4
NO_BREAK_SPACE = b"\xc2\xa0"  # in UTF-8


@dataclass(frozen=True)
class Encoding:
    """How the characters of a file are written.

    Attributes:
        title: for messages and the ledger.
        mark: the byte order mark at the start of the file.
        codec: Python's name; None when the bytes can be read as they are.
    """

    title: str
    mark: bytes = b""
    codec: str | None = None


UTF_8 = Encoding("UTF-8")
UTF_16_LE = Encoding("UTF-16 LE without a mark", codec="utf-16-le")
UTF_16_BE = Encoding("UTF-16 BE without a mark", codec="utf-16-be")
# The mark of UTF-32 begins like that of UTF-16: it is compared first.
MARKED = (
    Encoding("UTF-32", b"\xff\xfe\0\0", "utf-32-le"),
    Encoding("UTF-32", b"\0\0\xfe\xff", "utf-32-be"),
    Encoding("UTF-16 LE", codecs.BOM_UTF16_LE, "utf-16-le"),
    Encoding("UTF-16 BE", codecs.BOM_UTF16_BE, "utf-16-be"),
    Encoding("UTF-8 with a mark", codecs.BOM_UTF8),
)


def encoding_of(first_bytes: bytes) -> Encoding:
    """Return the encoding that the first `N_FIRST_BYTES` bytes of a file show."""
    for encoding in MARKED:
        if first_bytes.startswith(encoding.mark):
            return encoding
    is_zero = [byte == 0 for byte in first_bytes]
    if is_zero == [False, True, False, True]:
        return UTF_16_LE
    if is_zero == [True, False, True, False]:
        return UTF_16_BE
    return UTF_8


def open_as_utf8(file: FileIO | BytesIO) -> tuple[BufferedReader, Encoding]:
    """Return a reader of the file's text as UTF-8, behind the byte order mark, and its encoding."""
    encoding = encoding_of(file.read(N_FIRST_BYTES))
    file.seek(len(encoding.mark))
    raw = cast(RawIOBase, file)
    if encoding.codec is not None:
        raw = TranscodedFile(file, encoding.codec)
    return BufferedReader(raw, CHUNK_BYTES), encoding


class TranscodedFile(RawIOBase):
    """A file in another encoding, read as UTF-8.

    What cannot be decoded becomes U+FFFD: the check of rows then names its row and column.
    """

    def __init__(self, file: FileIO | BytesIO, codec: str) -> None:
        super().__init__()
        self._file = file
        self._decoder = codecs.getincrementaldecoder(codec)(errors="replace")
        self._pending = b""
        self._is_end = False

    def readable(self) -> bool:
        """Tell `BufferedReader` that it may read."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill the buffer; return the number of bytes, 0 at the end."""
        while not self._pending and not self._is_end:
            chunk = self._file.read(CHUNK_BYTES)
            self._is_end = not chunk
            text = self._decoder.decode(chunk, final=self._is_end)
            self._pending = text.encode("utf-8", errors="replace")
        n_bytes = min(len(buffer), len(self._pending))
        buffer[:n_bytes] = self._pending[:n_bytes]
        self._pending = self._pending[n_bytes:]
        return n_bytes
