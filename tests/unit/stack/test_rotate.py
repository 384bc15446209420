"""`make rotate` renews all that `make up` generates, and keeps what old data needs."""

from datetime import UTC, datetime

import pytest

from readmit.client import access_keys
from readmit.inference import signatures
from readmit.inference.signatures import Statement
from readmit.settings import StackSettings
from stack import configuration, rotate

OTHER = f"ward:predict:{'b' * 64}"


@pytest.fixture
def settings(monkeypatch, tmp_path):
    monkeypatch.setenv("READMIT_ENV_FILE", str(tmp_path / ".env"))
    configuration.write_env()
    return configuration.stack_settings()


def renewed(settings: StackSettings) -> StackSettings:
    configuration.change_env(rotate.new_secrets(settings))
    return configuration.stack_settings()


def test_everything_generated_is_renewed_but_the_key_of_erasures(settings):
    before = settings.model_dump()
    after = renewed(settings).model_dump()
    same = {name for name in before if before[name] == after[name]}
    generated = {name.removeprefix("READMIT_").lower() for name in configuration.GENERATORS}
    assert same & generated == {"erasure_key"}
    assert before["model_signing_key"] != after["model_signing_key"]


def test_what_the_key_of_before_signed_stays_trusted(settings):
    statement = Statement("model", "1", "decision", {})
    document = signatures.sign(statement, settings.model_signing_key.get_secret_value())
    after = renewed(renewed(settings))
    assert signatures.verify(document, after.model_public_key) == statement
    assert not signatures.is_of_today(document, after.model_public_key)
    new = signatures.sign(statement, after.model_signing_key.get_secret_value())
    assert signatures.is_of_today(new, after.model_public_key)


def test_connections_of_airflow_can_still_be_read(settings):
    before = settings.airflow_fernet_key.get_secret_value()
    keys = renewed(settings).airflow_fernet_key.get_secret_value().split(",")
    assert keys[1:] == [before]
    assert len(renewed(renewed(settings)).airflow_fernet_key.get_secret_value().split(",")) == 2


def test_without_keys_of_the_api_none_is_made(settings):
    assert rotate.API_KEY not in rotate.new_secrets(settings)


def test_the_form_gets_a_new_key_and_the_old_one_ends_today(settings):
    old = access_keys.of_the_form("old")
    configuration.change_env(
        {"READMIT_API_KEY": "old", "READMIT_API_KEYS": f"{OTHER},{old.entry()}"}
    )
    values = rotate.new_secrets(configuration.stack_settings())
    other, form, before = access_keys.parse(values["READMIT_API_KEYS"])
    assert other.entry() == OTHER
    assert (form.name, form.scopes, form.last_day) == (old.name, old.scopes, None)
    assert form.sha256 == access_keys.sha256_of(values["READMIT_API_KEY"])
    assert (before.name, before.sha256) == ("form-before", old.sha256)
    assert before.last_day == datetime.now(UTC).date()
    configuration.change_env(values)
    again = rotate.new_secrets(configuration.stack_settings())
    assert len(access_keys.parse(again["READMIT_API_KEYS"])) == 3


def test_a_stack_that_does_not_run_keeps_its_passwords(settings, tmp_path):
    text = (tmp_path / ".env").read_text()
    stopped = settings.model_copy(update={"readmit_home": tmp_path / "home"})
    with pytest.raises(rotate.NotRunning, match="make up"):
        rotate.rotate(stopped, None)
    assert (tmp_path / ".env").read_text() == text
