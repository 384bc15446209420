"""Entries of READMIT_API_KEYS: a good one is accepted, a bad one stops the start and shows no key."""

import re
from datetime import UTC, date, datetime, timedelta

import pytest

from readmit.client import access_keys
from readmit.client.access_keys import InvalidEntry, Scope
from readmit.settings import BadSetting
from serving.api_settings import ServingSettings

HASH = "a" * 64


def test_a_new_key_is_found_by_its_entry():
    secret, key = access_keys.new("ward-3", [Scope.HISTORY, Scope.PREDICT], date(2027, 12, 31))
    assert key.entry() == f"ward-3:history+predict:{access_keys.sha256_of(secret)}:2027-12-31"
    assert secret not in key.entry()
    assert access_keys.parse(f" {key.entry()} ,\n ehr:predict:{HASH} ") == (
        key,
        access_keys.AccessKey("ehr", frozenset({Scope.PREDICT}), HASH),
    )


def test_a_key_may_say_how_many_patients_its_holder_can_call():
    _, key = access_keys.new("ward-3", [Scope.PREDICT], date(2027, 12, 31), calls_per_100=5)
    assert key.entry().endswith(":2027-12-31:calls=5")
    assert access_keys.parse_entry(key.entry()) == key
    assert access_keys.parse_entry(f"ehr:predict:{HASH}:calls=50").calls_per_100 == 50
    assert access_keys.parse_entry(f"ehr:predict:{HASH}").calls_per_100 == access_keys.USUAL_CALLS


@pytest.mark.parametrize(("days", "is_valid"), [(-1, False), (0, True), (1, True)])
def test_a_key_is_valid_through_its_last_day(days, is_valid):
    last_day = datetime.now(UTC).date() + timedelta(days=days)
    (key,) = access_keys.parse(f"ehr:predict:{HASH}:{last_day}")
    assert key.is_valid() == is_valid


@pytest.mark.parametrize(
    "entries",
    [
        "secret",
        ",",
        f":predict:{HASH}",
        f"local:predict:{HASH}",
        f"a b:predict:{HASH}",
        f"ehr::{HASH}",
        f"ehr:admin:{HASH}",
        f"ehr:predict+:{HASH}",
        "ehr:predict:secret",
        f"ehr:predict:{HASH}:tomorrow",
        f"ehr:predict:{HASH}:2027-12-31:x",
        f"ehr:predict:{HASH}:calls=0",
        f"ehr:predict:{HASH}:calls=51",
        f"ehr:predict:{HASH}:calls=ten",
        f"ehr:predict:{HASH}:calls=5:2027-12-31",
        f"ehr:predict:{HASH},ward:data:{HASH}",
    ],
)
def test_a_list_with_a_wrong_entry_stops_the_start_and_shows_no_key(entries, monkeypatch):
    with pytest.raises(InvalidEntry) as error:
        access_keys.parse(entries)
    assert "secret" not in str(error.value)
    monkeypatch.setenv("READMIT_API_KEYS", entries)
    with pytest.raises(BadSetting, match="READMIT_API_KEYS: ") as stopped:
        ServingSettings()
    assert "secret" not in str(stopped.value)
    assert HASH not in str(stopped.value)


def test_a_key_in_both_lists_has_the_scopes_of_its_entry():
    settings = ServingSettings(api_keys=f"ehr:predict:{HASH}", api_key_hashes=f"{HASH},{'b' * 64}")
    keys = {key.name: key.scopes for key in settings.accepted_keys()}
    assert keys == {"ehr": {Scope.PREDICT}, "key-2": set(Scope)}


def test_the_command_prints_a_key_and_its_entry(monkeypatch, capsys):
    command = ["access_keys", "--last-day=2099-12-31", "--", "ward-3", "predict", "clinical"]
    monkeypatch.setattr("sys.argv", command)
    access_keys.main()
    printed = capsys.readouterr().out
    secret = re.search(r"once\): (\S+)", printed)[1]
    (key,) = access_keys.parse(re.search(r"API of|READMIT_API_KEYS of the API: +(\S+)", printed)[1])
    assert key.sha256 == access_keys.sha256_of(secret)
    assert key.scopes == {Scope.PREDICT, Scope.CLINICAL}


@pytest.mark.parametrize("words", [["x", "admin"], ["local", "predict"], ["x"]])
def test_the_command_refuses_a_text_that_is_no_key(words, monkeypatch):
    monkeypatch.setattr("sys.argv", ["access_keys", *words])
    with pytest.raises(SystemExit):
        access_keys.main()
