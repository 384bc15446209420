"""A load test hits this machine, or a server that somebody confirmed."""

import os
import subprocess
import sys

import pytest

from readmit.settings import ROOT

CHECK = """
import sys
from load_target import confirm_target
from readmit.confirmation import NotConfirmed
try:
    confirm_target(sys.argv[1])
except NotConfirmed as error:
    sys.exit(str(error))
"""


def ask(address: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", CHECK, address],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'locust'}"} | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:8000", "http://localhost:1/", "https://[::1]:8000", "http://127.9.9.9"],
)
def test_this_machine_needs_no_confirmation(address):
    assert ask(address).returncode == 0


@pytest.mark.parametrize(
    "address",
    [
        "http://10.43.1.2:8000",
        "https://api.example.org",
        "http://127.0.0.1.example.org",
        "http://127.0.0.1:8000@example.org",
        "http://localhost.example.org:8000",
        "http://2130706433/",
        "http://0.0.0.0:8000",
        "http://[fe80::1]",
        "nonsense",
    ],
)
def test_another_machine_is_refused_until_it_is_confirmed(address):
    refused = ask(address)
    assert refused.returncode == 1
    assert "nothing was sent" in refused.stderr
    assert "YES=1" in refused.stderr
    assert ask(address, READMIT_YES="1").returncode == 0


@pytest.mark.parametrize(
    "command",
    [
        [
            "-m",
            "locust",
            "-f",
            "locust/locustfile.py",
            "--headless",
            "--host",
            "http://192.0.2.1:9",
        ],
        ["locust/capacity.py", "--host", "http://192.0.2.1:9"],
    ],
)
def test_the_programs_end_before_anything_is_sent(command, tmp_path):
    process = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == 2
    assert "http://192.0.2.1:9 is not this machine" in process.stderr
