"""Encrypted files: the content comes back, and a changed file is refused."""

from io import BytesIO
from pathlib import Path

import pytest

from readmit.ops import sealed_files
from readmit.ops.sealed_files import CHUNK, BadKey, Damaged, Sealer, decode_key

SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK)
SEALER = Sealer(bytes(range(32)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sealer", [SEALER, Sealer()])
def test_content_comes_back(tmp_path: Path, size: int, sealer: Sealer) -> None:
    content = bytes(index % 251 for index in range(size))
    path = tmp_path / "file"
    sealer.write(BytesIO(content), path, "name")
    assert sealer.read(path, "name") == content
    with sealer.open(path, "name") as stream:
        assert stream.read() == content
    assert sealed_files.is_sealed(path) == (sealer.key is not None)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n_lost", [1, 16, 17, CHUNK, CHUNK + 16])
def test_a_file_that_was_cut_off_is_damaged(tmp_path: Path, size: int, n_lost: int) -> None:
    path = tmp_path / "file"
    SEALER.write(BytesIO(bytes(size)), path, "name")
    content = path.read_bytes()
    if n_lost >= len(content) - len(sealed_files.HEADER):
        return
    path.write_bytes(content[:-n_lost])
    with pytest.raises(Damaged):
        SEALER.read(path, "name")


def test_chunks_cannot_change_their_order(tmp_path: Path) -> None:
    path = tmp_path / "file"
    SEALER.write(BytesIO(b"a" * CHUNK + b"b" * CHUNK + b"c"), path, "name")
    content = path.read_bytes()
    head = len(sealed_files.HEADER) + sealed_files.SALT_BYTES
    block = CHUNK + sealed_files.TAG_BYTES
    first = content[head : head + block]
    second = content[head + block : head + 2 * block]
    path.write_bytes(content[:head] + second + first + content[head + 2 * block :])
    with pytest.raises(Damaged):
        SEALER.read(path, "name")


def test_another_key_another_name_and_no_key_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    SEALER.write(BytesIO(b"content"), path, "name")
    for sealer, name in ((Sealer(bytes(32)), "name"), (SEALER, "other"), (Sealer(), "name")):
        with pytest.raises(Damaged):
            sealer.read(path, name)


@pytest.mark.parametrize("text", ["", "short", "!" * 44, "A" * 42])
def test_a_key_is_32_bytes_in_base64(text: str) -> None:
    with pytest.raises(BadKey):
        decode_key(text)
    assert decode_key("A" * 43 + "=") == bytes(32)
