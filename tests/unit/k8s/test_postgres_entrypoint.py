"""The first and later starts of the Postgres image; the programs are stand-ins, the rehearsal runs
the real ones.
"""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.k8s import K8S

SCRIPT = K8S / "images" / "postgres" / "entrypoint.sh"
INITDB = '#!/bin/sh\nmkdir "$2"\ntouch "$2/pg_hba.conf"\n[ -z "${INTERRUPT:-}" ] || exit 1\necho 18 >"$2/PG_VERSION"\n'


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, text in (("initdb", INITDB), ("postgres", "#!/bin/sh\necho serving\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path / "volume" / "18" / "docker"


def start(data: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{data.parents[2]}:{os.environ['PATH']}"
    environment = {"PATH": path, "PGDATA": str(data), "POSTGRES_PASSWORD": "x", **variables}
    return subprocess.run(
        ["sh", str(SCRIPT)], env=environment, capture_output=True, text=True, check=False
    )


def test_a_first_start_makes_a_cluster_and_the_next_keeps_it(data: Path) -> None:
    assert start(data).stdout == "serving\n"
    (data / "row").touch()
    assert start(data, POSTGRES_PASSWORD="").stdout == "serving\n"
    assert (data / "row").exists()
    assert (data / "pg_hba.conf").read_text() == "host all all all scram-sha-256\n"


def test_an_interrupted_start_is_repeated(data: Path) -> None:
    assert start(data, INTERRUPT="yes").returncode == 1
    assert not data.exists()
    assert start(data).stdout == "serving\n"


def test_a_cluster_that_another_image_made_is_kept(data: Path) -> None:
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("18\n")
    (data / "row").touch()
    assert start(data).stdout == "serving\n"
    assert (data / "row").exists()


def test_files_that_are_no_cluster_stop_the_start(data: Path) -> None:
    data.mkdir(parents=True)
    (data / "row").touch()
    assert start(data).returncode != 0
    assert (data / "row").exists()
