"""Settings: each is in `.env.example`, and each is read by something."""

import re
from importlib import import_module
from typing import get_args

import pytest

from readmit import db
from readmit.settings import ROOT, PipelineSettings, Settings, StackSettings, example
from serving.api_settings import ServingSettings
from training.training_settings import MonitorSettings, TrainingSettings

CLASSES = (
    Settings,
    PipelineSettings,
    StackSettings,
    ServingSettings,
    TrainingSettings,
    MonitorSettings,
)
NAMES = sorted({name for cls in CLASSES for name in cls.model_fields})
PARTS = (
    "bench",
    "dags",
    "expectations",
    "k8s",
    "locust",
    "readmit",
    "serving",
    "stack",
    "training",
    "ui",
)


def test_the_example_is_current():
    assert (ROOT / ".env.example").read_text() == example(), (
        "python -m readmit.settings > .env.example"
    )


def test_the_example_has_every_setting_once():
    listed = re.findall(r"^#([A-Z0-9_]+)=", example(), re.MULTILINE)
    assert sorted(listed) == [name.upper() for name in NAMES]


@pytest.fixture(scope="module")
def read():
    """Every attribute and every text of our Python, with the passwords that roles log in with."""
    files = (path for part in PARTS for path in (ROOT / part).rglob("*.py"))
    found = {word for path in files for word in re.findall(r"[.\"'](\w+)\b", path.read_text())}
    return found | {f"{role}_password" for role in get_args(db.Role)}


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_is_read_by_something(read, name):
    assert name in read


@pytest.mark.parametrize("command", ["rollback", "quality", "hyperparameter_search", "experiments"])
def test_a_command_says_in_one_line_which_setting_is_wrong(command, monkeypatch, capsys):
    monkeypatch.setenv("POSTGRES_PORT", "five")
    assert import_module(f"training.{command}").main([]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(
        r"error: POSTGRES_PORT: [^\n]+ \(got 'five'\); correct it [^\n]+\n", said.err
    )
