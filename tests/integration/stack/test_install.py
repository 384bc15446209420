"""`stack/install.sh` on machines without a fitting Python: a clear line, and nothing half made."""

import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from readmit.settings import ROOT

TOOLS = ("bash", "dirname", "sha256sum", "cut", "df", "awk", "mktemp", "rm", "sed", "cat", "env")


@pytest.fixture
def checkout(tmp_path):
    """A checkout with a space in its name, and a PATH without any Python."""
    folder = tmp_path / "my readmit"
    (folder / "stack").mkdir(parents=True)
    shutil.copy(ROOT / "stack" / "install.sh", folder / "stack")
    shutil.copy(ROOT / "requirements.lock", folder)
    (folder / "bin").mkdir()
    for name in TOOLS:
        (folder / "bin" / name).symlink_to(shutil.which(name))
    return folder


@pytest.fixture
def mirror():
    """The address of a mirror of Pythons that has none."""

    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

    with ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def install(checkout, **variables):
    """Return the messages of an installation that fails."""
    environment = {"PATH": str(checkout / "bin"), "HOME": str(checkout)} | variables
    process = subprocess.run(
        ["bash", "stack/install.sh"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 1, process.stdout
    assert not (checkout / ".venv").exists()
    return process.stdout + process.stderr


def test_without_python_and_uv_the_line_says_what_to_install(checkout):
    message = install(checkout)
    assert "no Python 3.11, 3.12 or 3.13: apt-get install python3 python3-venv" in message


def test_a_chosen_python_that_does_not_fit_is_named(checkout):
    (checkout / "bin" / "old python").symlink_to(shutil.which("false"))
    message = install(checkout, PYTHON=str(checkout / "bin" / "old python"))
    assert "old python is not Python 3.11, 3.12 or 3.13" in message


def test_a_python_that_cannot_be_fetched_is_a_clear_line(checkout, mirror):
    (checkout / "bin" / "uv").symlink_to(ROOT / ".venv" / "bin" / "uv")
    message = install(checkout, UV_PYTHON_INSTALL_MIRROR=mirror, UV_NO_CONFIG="1")
    assert "uv fetches one" in message
    assert "uv could not fetch Python" in message
