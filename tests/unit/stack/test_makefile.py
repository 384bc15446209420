"""Values for `make` reach the commands as they are: neither make nor a shell runs what is in them."""

import os
import re
import shutil
import subprocess

import pytest

from readmit import inherited_environment
from readmit.settings import ROOT
from tests.support.hostile_environment import PROXIES, variables

# Prints its arguments, and the variables that commands read from the environment.
PYTHON = """#!/bin/bash
printf '<%s>\\n' "$@"
printf '%s=<%s>\\n' DATASET "$READMIT_DATASET" CONTEXT "$CONTEXT"
env
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


def make(folder, *arguments: str, **shell: str) -> str:
    process = subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **shell},
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
        ("erase", "PATIENT"),
        ("logs", "ID"),
        ("logs", "NAME"),
        ("bench", "ONLY"),
        ("search", "ARGS"),
        ("lock", "ARGS"),
        ("tour", "ARGS"),
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
    assert f"DATASET=<{value}>\n" in make(folder, "up", f"DATASET={value}")


def test_a_list_is_split_into_words_and_no_file_names_come_in(folder):
    out = make(folder, "search", "ARGS=--trials 60 --family *")
    assert out.startswith(
        "<-m>\n<training.hyperparameter_search>\n<--trials>\n<60>\n<--family>\n<*>"
    )
    assert "<tests/unit>\n<tests/contract>\n" in make(
        folder, "test", "TESTS=tests/unit tests/contract"
    )
    assert "<-n>\n<3>\n" in make(folder, "test")


def test_monitoring_is_switched_by_a_word(folder):
    assert "<stack.up>\n<--monitoring>\n<off>\n" in make(folder, "up", "MONITORING=off")
    assert "<--monitoring>" not in make(folder, "up")


def test_a_context_leads_to_the_cluster(folder):
    assert "<k8s.reach>" in make(folder, "submit", "FILE=a", "CONTEXT=kind-readmit")
    assert "<k8s.reach>" not in make(folder, "submit", "FILE=a")


def test_a_recipe_gets_nothing_of_a_hostile_shell(folder):
    shell = variables() | {"CHROMIUM": "/x", "BASH_FUNC_ls%%": "() { echo hi; }", "TZ": "UTC"}
    shell |= {"BASH_ENV": str(folder / "script"), "ENV": str(folder / "script")}
    (folder / "script").write_text("touch pwned\n")
    printed = make(folder, "status", **shell)
    assert "TZ=UTC\n" in printed
    assert "https_proxy" in printed.lower()  # for downloads
    for name, value in shell.items():
        if name not in PROXIES and name != "TZ":
            assert f"\n{name}={value}\n" not in printed, name
    assert not (folder / "pwned").exists()


@pytest.mark.parametrize("name", ["FILE", "FORCE", "SUPERSEDES", "CONTEXT", "WAIT", "YES"])
def test_a_variable_of_make_counts_on_its_command_line_only(folder, name):
    assert make(folder, "submit", **{name: "evil"}) == make(folder, "submit", **{name: ""})
    assert "evil" in make(folder, "submit", f"{name}=evil")


def test_defaults_are_not_those_of_the_shell(folder):
    printed = make(folder, "test", TESTS="evil", WORKERS="99")
    assert "<-n>\n<3>\n" in printed
    assert "<tests/e2e>\n" in printed


def test_installing_targets_have_the_settings_of_registries_and_running_ones_do_not(folder):
    (folder / "stack" / "install.sh").write_text('echo "index=$PIP_INDEX_URL uv=$UV_OFFLINE"\n')
    printed = make(folder, "up", PIP_INDEX_URL="http://x/$y $(z)", UV_OFFLINE="1")
    assert printed.startswith("index=http://x/$y $(z) uv=1\n")
    assert "\nPIP_INDEX_URL=" not in printed


def test_a_cluster_is_reached_with_the_shell_that_kubectl_needs(folder):
    printed = make(folder, "status", AWS_PROFILE="mine")
    assert "AWS_PROFILE" not in printed
    printed = make(folder, "pipeline", "CONTEXT=mine", AWS_PROFILE="mine", PYTHONHOME="/no")
    assert "AWS_PROFILE=mine\n" in printed
    assert "PYTHONHOME" not in printed


def test_make_and_python_inherit_the_same_variables():
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    listed = set(re.search(r"^INHERITED := (.*)$", text, re.MULTILINE)[1].split())
    proxies = {*inherited_environment.PROXIES}
    proxies |= {name.upper() for name in proxies}
    assert listed == {*inherited_environment.ALLOWED, *proxies, "LC_%", "READMIT_%"}


def test_the_style_of_sql_is_checked_once(folder):
    """It takes 20 s of a core, and CI runs `make lint test`."""
    deselected = "--deselect tests/integration/dbt_project/test_sqlfluff.py"
    assert deselected not in make(folder, "--dry-run", "test")
    commands = make(folder, "--dry-run", "lint", "test")
    assert "pytest -q tests/integration/dbt_project/test_sqlfluff.py" in commands
    assert commands.count(deselected) == 1
