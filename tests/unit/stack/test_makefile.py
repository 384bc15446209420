"""Values for `make` reach the commands as they are: neither make nor a shell runs what is in them."""

import os
import shutil
import subprocess

import pytest

from readmit.settings import ROOT

# Prints its arguments, and the variables that commands read from the environment.
PYTHON = """#!/bin/bash
printf '<%s>\\n' "$@"
printf '%s=<%s>\\n' DATASET "$DATASET" CONTEXT "$CONTEXT"
"""
ATTACKS = (
    "x$(touch pwned)",
    "x`touch pwned`",
    'x"; touch pwned; "',
    "x'; touch pwned; '",
    "x$(shell touch pwned)",
    "x$$(touch pwned)",
    "x\\$(touch pwned)",
    "$(eval x:=$(shell touch pwned))",
)


@pytest.fixture
def folder(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "uv", "locust"):
        (programs / name).write_text(PYTHON)
        (programs / name).chmod(0o755)
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "install.sh").touch()
    (tmp_path / "k8s").mkdir()
    (tmp_path / "k8s" / "build-images.sh").write_text('echo "$REGISTRY"\n')
    return tmp_path


def make(folder, *arguments: str, **variables: str) -> str:
    process = subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize("value", ATTACKS)
@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("submit", "FILE"),
        ("submit", "SUPERSEDES"),
        ("submit", "CONTEXT"),
        ("rollback", "TO"),
        ("logs", "ID"),
        ("logs", "NAME"),
        ("bench", "ONLY"),
        ("search", "ARGS"),
        ("lock", "ARGS"),
        ("capacity", "OPTIONS"),
        ("load", "SHAPE"),
        ("test", "TESTS"),
        ("test", "WORKERS"),
        ("up", "DATASET"),
        ("up", "PYTHON"),
        ("up", "MONITORING"),
        ("images", "REGISTRY"),
        ("k8s-up", "COMPONENTS"),
        ("k8s-down", "TOOL"),
    ],
)
def test_a_value_is_never_run(folder, target, name, value):
    make(folder, target, f"{name}={value}")
    make(folder, target, **{name: value})
    assert not (folder / "pwned").exists()


@pytest.mark.parametrize("value", [*ATTACKS, "a b", "*", "ñandú $HOME", "--help"])
def test_a_value_arrives_as_it_is(folder, value):
    assert f"<{value}>\n" in make(folder, "submit", f"FILE={value}")
    assert f"<{value}>\n" in make(folder, "submit", FILE=value)
    assert f"DATASET=<{value}>\n" in make(folder, "up", f"DATASET={value}")


def test_a_list_is_split_into_words_and_no_file_names_come_in(folder):
    out = make(folder, "search", "ARGS=--trials 60 --family *")
    assert out.startswith(
        "<-m>\n<training.hyperparameter_search>\n<--trials>\n<60>\n<--family>\n<*>"
    )
    assert "<tests/unit>\n<tests/contract>\n" in make(
        folder, "test", "TESTS=tests/unit tests/contract"
    )
    assert "<-n>\n<2>\n" in make(folder, "test")


def test_monitoring_is_switched_by_a_word(folder):
    assert "<stack.up>\n<--monitoring>\n<off>\n" in make(folder, "up", "MONITORING=off")
    assert "<--monitoring>" not in make(folder, "up")


def test_a_context_leads_to_the_cluster(folder):
    assert "<k8s.reach>" in make(folder, "submit", "FILE=a", "CONTEXT=kind-readmit")
    assert "<k8s.reach>" not in make(folder, "submit", "FILE=a")
