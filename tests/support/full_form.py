"""The web form on the stand-in API of a full installation, both as processes of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from readmit.contract.definition import Contract
from readmit.settings import ROOT
from tests.support.services import NO_AUTHORITIES, end, free_port, wait_until


@contextmanager
def running(home: Path, contract: Contract) -> Iterator[str]:
    """Start both; yields the address of the form."""
    (home / "contract.json").write_text(contract.to_json())
    api = ("uvicorn", "tests.support.full_form_api:create", "--factory", "--no-access-log")
    with _process(home, "api", api, "/readyz", "--port={port}") as api_url:
        form = ("streamlit", "run", "ui/streamlit_app.py")
        port = "--server.port={port}"
        with _process(home, "form", form, "/_stcore/health", port, api_url) as form_url:
            yield form_url


@contextmanager
def _process(
    home: Path, name: str, command: tuple[str, ...], health: str, port: str, api_url: str = ""
) -> Iterator[str]:
    number = free_port()
    environment = os.environ | {
        "FORM_API_HOME": str(home),
        "FORM_API_CONTRACT": str(home / "contract.json"),
        "READMIT_ENV_FILE": str(home / "none"),
        "READMIT_API_URL": api_url,
        "PYTHONPATH": str(ROOT),
    }
    with (home / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            (sys.executable, "-m", *command, port.format(port=number)),
            cwd=ROOT, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    url = f"http://127.0.0.1:{number}"
    try:
        wait_until(lambda: _is_healthy(f"{url}{health}"), f"{name} does not answer", 60)
        yield url
    finally:
        end(process)


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=5, verify=NO_AUTHORITIES).is_success
    except httpx.TransportError:
        return False
