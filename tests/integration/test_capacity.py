"""Capacity and shapes against a real API process: few users, seconds."""

import json
import os
import subprocess
import sys

import pytest

from readmit.settings import ROOT

LOCUST = ROOT / "locust"


def run(*command, **more):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, check=False, timeout=300, **more
    )


@pytest.mark.parametrize("processes", ["1", "2"])
def test_capacity_of_an_api_of_its_own(tmp_path, processes):
    options = ["--own", "--searches", "1", "--start", "4", "--most", "4", "--seconds", "4", "--ramp", "1"]
    done = run(str(LOCUST / "capacity.py"), *options, "--processes", processes, "--output", str(tmp_path))
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1: the machine was too busy for the SLO
    said = json.loads((tmp_path / "capacity.json").read_text())
    (result,) = said["results"]
    steps = [step for search in result["steps"] for step in search]
    assert any(step["rate"] > 0 and step["error_share"] == 0 and step["api_cpu"] > 0 for step in steps), steps
    assert said["static_route"] == "/noop"
    assert result["static_requests_per_second"] > 0
    assert (tmp_path / "capacity.png").read_bytes().startswith(b"\x89PNG")
    assert "How many users" in (tmp_path / "capacity.html").read_text()


def test_no_server_is_told(tmp_path):
    done = run(str(LOCUST / "capacity.py"), "--host", "http://127.0.0.1:1025", "--output", str(tmp_path))
    assert done.returncode == 2
    assert "cannot measure" in done.stderr
