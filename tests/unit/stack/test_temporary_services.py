"""Services of tests and measurements end with their process, however it ends."""

import signal
import subprocess
import sys

import pytest

from readmit.settings import ROOT

PROGRAM = """
import time
from pathlib import Path
from stack.temporary_services import CLEAN_UP

CLEAN_UP.callback(Path({mark!r}).touch)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_stopped_cleans_up(tmp_path, number):
    mark = tmp_path / "cleaned"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(mark=str(mark))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        process.wait(20)
    assert mark.exists()
