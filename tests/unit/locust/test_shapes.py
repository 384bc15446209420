"""The named shapes of load: where they begin, peak and end."""

import os
import subprocess
import sys

from readmit.settings import ROOT

CHECK = """
import shapes
found = {name: [round(p.at(i / 100), 3) for i in range(101)] for name, p in shapes.PROFILES.items()}
assert set(found) == {"smoke", "average", "spike", "soak"}
for name, line in found.items():
    assert max(line) == 1 and min(line) >= 0.1, name
assert set(found["smoke"]) == {1}
assert found["average"][0] == 0.1 and found["average"][50] == 1 and found["average"][100] == 0.1
assert found["spike"][40] == 0.1 and found["spike"][50] == 1 and found["spike"][70] == 0.1
assert found["soak"][3] == found["soak"][100] == 1
"""


def test_shapes():
    # A process of its own: Locust patches the whole of it.
    environment = os.environ | {"PYTHONPATH": str(ROOT / "locust")}
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_the_folder_does_not_hide_the_library_of_its_name():
    assert not (ROOT / "locust" / "__init__.py").exists()
