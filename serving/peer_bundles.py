"""The served bundle, handed from one process of the API to another.

A new pod that reaches neither registry nor object store takes the model that the other pods serve.
It verifies the signature as it does for every copy, so a peer cannot make it serve anything else.
"""

import hashlib
import hmac
import io
import logging
import socket
import tarfile
from pathlib import Path, PurePosixPath

import httpx
import orjson

from serving.api_settings import ServingSettings
from serving.bundle_loader import ModelUnavailable, Version

log = logging.getLogger("serving")
PATH = "/peers/bundle"
TOKEN_HEADER = "X-Peer-Token"  # noqa: S105 (a name)
VERSION_FILE = "version.json"
TIMEOUT_SECONDS = 5.0
MAX_BYTES = 200_000_000


def token(settings: ServingSettings) -> str | None:
    """Return what a process shows to its peers: all have the password of the role `serving`.

    Without that password there is no secret to share, and the result is None.
    """
    if settings.serving_password is None:
        return None
    secret = settings.serving_password.get_secret_value()
    return hmac.new(secret.encode(), PATH.encode(), hashlib.sha256).hexdigest()


def pack(version: Version, folder: Path) -> bytes:
    """Return a bundle as a tar archive, with the version that it is."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        document = orjson.dumps(version)
        entry = tarfile.TarInfo(VERSION_FILE)
        entry.size = len(document)
        tar.addfile(entry, io.BytesIO(document))
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                tar.add(path, str(path.relative_to(folder)), recursive=False)
    return archive.getvalue()


def version_of(archive: bytes) -> Version:
    """Return the version in an archive.

    Raises:
        ModelUnavailable: there is none.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            file = tar.extractfile(VERSION_FILE)
            return Version(**orjson.loads(file.read() if file is not None else b""))
    except (tarfile.TarError, LookupError, TypeError, ValueError) as error:
        raise ModelUnavailable(f"a peer sent no bundle: {error}") from error


def unpack(archive: bytes, folder: Path) -> None:
    """Write the files of a bundle: plain files below the folder, and nothing else.

    Raises:
        ModelUnavailable: the archive is damaged.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for entry in tar:
                name = PurePosixPath(entry.name)
                is_inside = not name.is_absolute() and ".." not in name.parts
                file = tar.extractfile(entry) if entry.isfile() and is_inside else None
                if file is None or entry.name == VERSION_FILE:
                    continue
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read())
    except tarfile.TarError as error:
        raise ModelUnavailable(f"a peer sent a damaged bundle: {error}") from error


class Peers:
    """The other processes of the API: all addresses of the host name in READMIT_API_PEERS."""

    def __init__(self, settings: ServingSettings) -> None:
        self._host, _, port = settings.api_peers.partition(":")
        self._port = int(port or 8000)
        self._token = token(settings)

    def bundle(self) -> bytes | None:
        """Return the archive of the first peer that serves a model, or None."""
        if not self._host or self._token is None:
            return None
        try:
            entries = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            log.warning("peers cannot be found by the name %s: %s", self._host, error)
            return None
        for address in sorted({str(entry[4][0]) for entry in entries}):
            try:
                archive = self._ask(address)
            except httpx.HTTPError as error:
                log.info("the peer %s has no model for us: %s", address, type(error).__name__)
                continue
            if archive is not None:
                return archive
        return None

    def _ask(self, address: str) -> bytes | None:
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{self._port}{PATH}"
        archive = bytearray()
        with (
            httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as client,
            client.stream("GET", url, headers={TOKEN_HEADER: self._token or ""}) as response,
        ):
            if not response.is_success:
                return None
            for part in response.iter_bytes():
                archive += part
                if len(archive) > MAX_BYTES:
                    return None
        return bytes(archive)
