"""A changed setting, secret, code or lock restarts the programs that read it, and no others.

Keys that were added to `.env` once left the API open: `make up` restarted nothing.
"""

import pytest

from readmit.settings import StackSettings
from stack import program_inputs, programs

HASH = "a" * 64


def fingerprints() -> dict[str, str]:
    return {p.name: p.fingerprint for p in programs.all_programs(StackSettings())}


@pytest.mark.parametrize(
    ("variable", "value", "restarted"),
    [
        ("READMIT_API_KEY_HASHES", HASH, {"api"}),
        ("READMIT_API_RATE_PER_SECOND", "5", {"api"}),
        ("READMIT_HISTORY_TIMEOUT_MS", "60", {"api"}),
        ("READMIT_API_KEY", "secret", {"ui"}),
        ("READMIT_SERVING_PASSWORD", "changed", {"api"}),
        ("READMIT_TRANSFORMER_PASSWORD", "changed", {"airflow-scheduler"}),
        ("READMIT_PROMOTION_FLOOR", "0.65", {"airflow-scheduler", "airflow-dag-processor"}),
        ("READMIT_DRIFT_ALPHA", "0.02", {"airflow-scheduler", "airflow-dag-processor"}),
    ],
)
def test_a_changed_setting_restarts_the_programs_that_read_it(
    variable, value, restarted, monkeypatch
):
    before = fingerprints()
    monkeypatch.setenv(variable, value)
    after = fingerprints()
    assert {name for name in before if before[name] != after[name]} == restarted


def test_nothing_changed_restarts_nothing():
    assert fingerprints() == fingerprints()


def test_changed_code_restarts_the_programs_that_run_it(tmp_path, monkeypatch):
    before = program_inputs.digest_of("api", StackSettings(), "key")
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / "app.py").write_text("changed")
    (tmp_path / "requirements.lock").write_text("")
    monkeypatch.setattr(program_inputs, "ROOT", tmp_path)
    monkeypatch.setattr(program_inputs, "LOCK", tmp_path / "requirements.lock")
    program_inputs._digest_of_folders.cache_clear()
    try:
        assert program_inputs.digest_of("api", StackSettings(), "key") != before
    finally:
        program_inputs._digest_of_folders.cache_clear()


def test_a_digest_tells_nothing_without_its_key():
    settings = StackSettings()
    assert program_inputs.digest_of("ui", settings, "one") != program_inputs.digest_of(
        "ui", settings, "two"
    )
