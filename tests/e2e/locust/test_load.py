"""Load: the users of `locust/` get valid answers from the API that serves the model."""

import csv
import os
import subprocess
import sys

from readmit.settings import ROOT


def test_users_get_valid_answers(api_url, tmp_path):
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(ROOT / "locust" / "locustfile.py"),
        "--headless",
    ]
    command += [
        "--host",
        api_url,
        "-u",
        "8",
        "-r",
        "8",
        "-t",
        "12s",
        "--csv",
        str(tmp_path / "load"),
    ]
    completed = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    # Locust ends with 1 when a single answer was not valid.
    assert completed.returncode == 0, completed.stdout[-2000:] + completed.stderr[-2000:]
    with (tmp_path / "load_stats.csv").open(newline="") as file:
        counts = {row["Name"]: int(row["Request Count"]) for row in csv.DictReader(file)}
    assert counts["/predict"] > 20
    assert counts["/predict/batch"] >= 1
