"""A full disk stops intake with one line; nothing that was taken in before is changed.

The small disk is a tmpfs in a user namespace, which needs no rights.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from readmit.batches import claims, loading
from readmit.errors import NoRoom
from readmit.intake import sample, source_file, sources
from readmit.settings import ROOT, StackSettings
from tests.support import raw
from tests.support.services import environment

UNCHECKED = (
    "import sys; from readmit.intake import disk_space, sources;"
    " disk_space.Disk.ensure_room = lambda *_: None;"
    ' sys.exit(sources.main(["submit", sys.argv[1]]))'
)
ROWS = 4_000  # 0.7 MB
SMALL_DISK = ("unshare", "--user", "--map-root-user", "--mount", "--", "sh", "-c")
MOUNT = 'mount -t tmpfs -o size=512k tmpfs "$READMIT_HOME"'


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    sample.write_csv(folder / "export.csv", n_rows=ROWS)
    with zipfile.ZipFile(folder / "export.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(folder / "export.csv", "export.csv")
    return folder / "export.zip"


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    settings = raw.fresh(tmp_path)
    raw.stand_in_tables(settings)
    return settings


def submit(
    archive: Path, settings: StackSettings, min_free_mb: int
) -> "subprocess.CompletedProcess[str]":
    """Submit a file with READMIT_HOME on a disk of 512 KB; the last line lists what is left."""
    program = f"-m readmit.intake.sources submit {archive}"
    if min_free_mb == 0:  # another program fills the disk after the check
        program = f"-c '{UNCHECKED}' {archive}"
    command = f"{MOUNT} && {sys.executable} {program}; code=$?"
    listing = 'find "$READMIT_HOME" -type f; exit $code'
    settings.readmit_home.mkdir(exist_ok=True)
    return subprocess.run(
        [*SMALL_DISK, f"{command}; {listing}"],
        env={
            **environment(settings),
            "PATH": os.environ["PATH"],
            "READMIT_MIN_FREE_MB": str(min_free_mb),
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def ledger_of(settings: StackSettings) -> tuple[object, ...]:
    """Return how many rows each table of intake has."""
    counts = []
    for table in ("sources", "slices", "batches", "claims", "encounters"):
        [(n_rows,)] = raw.query(
            settings, settings.raw_database, f"select count(*) from landing.{table}"
        )
        counts.append(n_rows)
    return tuple(counts)


@pytest.mark.parametrize(
    ("min_free_mb", "reason"),
    [(0, "No space left on device"), (100, "1 MB are free at")],
    ids=["full", "below the floor"],
)
def test_a_full_disk_stops_a_submission_with_one_line(
    archive: Path, settings: StackSettings, min_free_mb: int, reason: str
) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("this machine has no unshare")
    trial = subprocess.run([*SMALL_DISK, "true"], check=False, capture_output=True)
    if trial.returncode != 0:
        pytest.skip("this machine allows no user namespaces")
    before = ledger_of(settings)
    process = submit(archive, settings, min_free_mb)
    assert process.returncode == 1, process.stderr
    assert reason in process.stderr
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1
    assert process.stdout == ""  # no file is left
    assert ledger_of(settings) == before
    sources.submit(str(archive), settings)  # with room again
    assert ledger_of(settings)[0] == 1


def test_below_the_floor_nothing_is_claimed_and_later_all_is_loaded(
    archive: Path, settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources.submit(str(archive), settings)
    before = ledger_of(settings)
    with monkeypatch.context() as full:
        full.setenv("READMIT_MIN_FREE_MB", str(1 << 50))
        with pytest.raises(
            NoRoom, match=r"^ingestion stops: .* MB are free at .*READMIT_MIN_FREE_MB"
        ):
            claims.claim_and_begin("run", settings)
    assert ledger_of(settings) == before
    build = claims.claim_and_begin("run", settings)
    assert build is not None
    loading.load(build.batch_id, settings)
    claims.release_claim("run", settings)


def test_without_room_for_the_public_file_no_sample_stands_in(
    settings: StackSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise NoRoom("200 MB are free")

    monkeypatch.setattr(source_file, "download", full)
    with pytest.raises(NoRoom):
        source_file.fetch_default(tmp_path)
    assert not (tmp_path / "sample.csv").exists()
