"""`upgrade_minutes`, `upgrade_failed`, `backup_seconds`, `restore_minutes`, of the running stack.

They stop and start its programs, so they run only when they are named. The upgrade is that of a
release that changes a package: `make up` after a comment is added to the lock, which restarts all
that uses packages, while predictions are asked for at a steady rate. The lock is put back, and
`make up` a second time is the second measurement.
"""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.figure import CannotMeasure, Figure
from bench.made_up_rows import make_rows
from readmit.contract.definition import Contract
from readmit.ops import backup_folder
from readmit.settings import ROOT, StackSettings
from stack.configuration import stack_settings
from stack.up import is_api_ready

LOCK = ROOT / "requirements.lock"
RATE = 50  # predictions a second
CALLERS = 25  # so that one slow answer does not hold up the next request


class Callers:
    """Ask for predictions at a steady rate, whether earlier ones were answered or not."""

    def __init__(self, settings: StackSettings, rows: list[dict[str, object]]) -> None:
        self.failures: list[str] = []
        self.n_answered = 0
        self.slowest = 0.0
        self._rows = rows
        limits = httpx.Limits(max_connections=CALLERS)
        self._client = httpx.Client(
            base_url=settings.api_url,
            headers=_key(settings),
            timeout=30,
            trust_env=False,
            limits=limits,
        )
        self._lock = threading.Lock()
        self._ended = threading.Event()

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Call while the block runs."""
        pacer = threading.Thread(target=self._pace)
        pacer.start()
        try:
            yield
        finally:
            self._ended.set()
            pacer.join()
            self._client.close()

    def _pace(self) -> None:
        with ThreadPoolExecutor(CALLERS) as pool:
            due = time.monotonic()
            number = 0
            while not self._ended.wait(max(0.0, due - time.monotonic())):
                pool.submit(self._call, self._rows[number % len(self._rows)], due)
                number += 1
                due += 1 / RATE

    def _call(self, row: dict[str, object], due: float) -> None:
        try:
            response = self._client.post("/predict", json=row)
            failure = "" if response.status_code == 200 else f"status {response.status_code}"
        except httpx.HTTPError as error:
            failure = repr(error)
        with self._lock:
            self.n_answered += 1
            self.slowest = max(self.slowest, time.monotonic() - due)
            if failure:
                self.failures.append(failure)


def upgrade() -> list[Figure]:
    """Upgrade the stack there and back under a steady load."""
    settings = _ready_stack()
    contract = Contract.from_manifest()
    frame = make_rows(contract, 60)[[feature.name for feature in contract.inputs]]
    rows = json.loads(frame.to_json(orient="records"))
    lock = LOCK.read_bytes()
    minutes = []
    callers = Callers(settings, rows)
    try:
        with callers.calling():
            for content in (lock + b"# a release that changes a package\n", lock):
                LOCK.write_bytes(content)
                minutes.append(_make("up", settings) / 60)
    finally:
        LOCK.write_bytes(lock)
    times = ", ".join(f"{value:.1f}" for value in minutes)
    detail = f"{times} min; {callers.n_answered} predictions at {RATE}/s"
    detail += f", the slowest {callers.slowest * 1000:.0f} ms after it was due"
    failed = f"{callers.n_answered} predictions; {', '.join(sorted(set(callers.failures))) or '-'}"
    return [
        Figure("upgrade_minutes", max(minutes), "min", "<= 3", detail),
        Figure("upgrade_failed", len(callers.failures), "predictions", "<= 0", failed),
    ]


def loss() -> list[Figure]:
    """Make a backup, lose the state folder's content to a restore of it, and start the stack."""
    settings = _ready_stack()
    backup_seconds = _make("backup", settings)
    newest = backup_folder.saved(settings.backup_folder())[-1]
    n_bytes = sum(path.stat().st_size for path in newest.rglob("*") if path.is_file())
    down = _make("down", settings)
    restore = _make("restore", settings)
    up = _make("up", settings)
    if not is_api_ready(settings.api_url):
        raise CannotMeasure("the API does not serve a model after the restore: make status")
    size = f"{n_bytes / 1e6:.0f} MB"
    parts = f"make down {down:.0f} s, make restore {restore:.0f} s, make up {up:.0f} s; {size}"
    return [
        Figure("backup_seconds", backup_seconds, "s", "<= 120", size),
        Figure("restore_minutes", (down + restore + up) / 60, "min", "<= 10", parts),
    ]


def _ready_stack() -> StackSettings:
    settings = stack_settings()
    if not is_api_ready(settings.api_url):
        raise CannotMeasure("the API serves no model: make up")
    return settings


def _key(settings: StackSettings) -> dict[str, str]:
    """Return the header with the API's key, when one is set."""
    key = settings.api_key
    return {"X-API-Key": key.get_secret_value()} if key else {}


def _make(target: str, settings: StackSettings) -> float:
    """Run a make target and return its seconds; its output is a log of the stack.

    Raises:
        CannotMeasure: it failed.
    """
    log = Path(settings.readmit_home) / "log" / f"bench-{target}.log"
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.run(
            ["make", target, "MONITORING="], cwd=ROOT, stdout=file, stderr=file, check=False
        )
    if process.returncode != 0:
        raise CannotMeasure(f"make {target} failed: {log}")
    return time.monotonic() - began


MEASURES = {
    ("upgrade_minutes", "upgrade_failed"): upgrade,
    ("backup_seconds", "restore_minutes"): loss,
}
