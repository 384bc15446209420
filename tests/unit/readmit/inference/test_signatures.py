"""A signed statement holds for the files that were signed, under the key that signed them, and for
nothing else.
"""

import json

import pytest

from readmit.inference import signatures
from readmit.inference.signatures import NotSigned, Statement


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "compiled").mkdir()
    (tmp_path / "contract.json").write_text("{}")
    (tmp_path / "compiled" / "model.onnx").write_bytes(b"weights")
    return tmp_path


@pytest.fixture
def keys():
    return signatures.generate_keys()


def signed(folder, private_key):
    statement = Statement("readmission", "3", "decision-1", signatures.digests(folder))
    return signatures.sign(statement, private_key)


def test_a_statement_comes_back_as_it_was_signed(folder, keys):
    private_key, public_key = keys
    document = signed(folder, private_key)
    (folder / signatures.FILE_NAME).write_text(document)
    statement = signatures.verify(document, public_key)
    assert statement.version == "3"
    assert set(statement.files) == {"contract.json", "compiled/model.onnx"}
    signatures.check_files(statement, folder, required=["contract.json"])


def test_the_public_key_follows_from_the_private_one(keys):
    private_key, public_key = keys
    assert signatures.public_key_of(private_key) == public_key


def test_another_key_is_no_signature(folder, keys):
    stranger, _ = signatures.generate_keys()
    with pytest.raises(NotSigned, match="another key"):
        signatures.verify(signed(folder, stranger), keys[1])


def test_a_changed_statement_is_no_signature(folder, keys):
    document = json.loads(signed(folder, keys[0]))
    document["statement"] = document["statement"].replace('"version": "3"', '"version": "4"')
    with pytest.raises(NotSigned):
        signatures.verify(json.dumps(document), keys[1])


@pytest.mark.parametrize(
    "document",
    ["", "null", "[]", "{}", '{"statement": 1}', '{"statement": "{}", "signature": "!"}'],
)
def test_a_text_that_is_no_signed_document_is_refused(document, keys):
    with pytest.raises(NotSigned):
        signatures.verify(document, keys[1])


def swap(folder):
    (folder / "compiled" / "model.onnx").write_bytes(b"Weights")


def add(folder):
    (folder / "compiled" / "planted.onnx").write_bytes(b"")


def remove(folder):
    (folder / "contract.json").unlink()


@pytest.mark.parametrize("attack", [swap, add, remove])
def test_other_files_are_refused(attack, folder, keys):
    statement = signatures.verify(signed(folder, keys[0]), keys[1])
    attack(folder)
    with pytest.raises(NotSigned):
        signatures.check_files(statement, folder, required=["contract.json"])
