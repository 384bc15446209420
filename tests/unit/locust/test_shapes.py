"""The named shapes of load: where they begin, peak and end."""

import os
import subprocess
import sys

from readmit.settings import ROOT

CHECK = """
import shapes
lines = {}
for name, profile in shapes.PROFILES.items():
    lines[name] = [round(profile.at(percent / 100), 3) for percent in range(101)]
    assert max(lines[name]) == 1 and min(lines[name]) >= 0.1, name
assert set(lines) == {"smoke", "average", "spike", "soak"}
assert set(lines["smoke"]) == {1}
assert lines["average"][0] == 0.1 and lines["average"][50] == 1 and lines["average"][100] == 0.1
assert lines["spike"][40] == 0.1 and lines["spike"][50] == 1 and lines["spike"][70] == 0.1
assert lines["soak"][3] == lines["soak"][100] == 1
"""


def test_shapes():
    # A process of its own: Locust patches the whole of it.
    environment = os.environ | {"PYTHONPATH": str(ROOT / "locust")}
    completed = subprocess.run(
        [sys.executable, "-c", CHECK],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert completed.returncode == 0, completed.stderr


def test_the_folder_does_not_hide_the_library_of_its_name():
    assert not (ROOT / "locust" / "__init__.py").exists()
