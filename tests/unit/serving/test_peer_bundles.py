"""A process without registry and store takes its model from another one, and verifies it."""

import hashlib
import hmac
import io
import socket
import tarfile
import threading
import time

import pytest
import uvicorn
from starlette.testclient import TestClient

from serving import peer_bundles
from serving.app import create_app
from serving.bundle_loader import ModelRefused, ModelUnavailable
from tests.support.services import free_port, wait_until
from tests.support.serving import ROW, FolderSource, read, settings


@pytest.fixture
def peer(tmp_path):
    """A process that serves version 1; gives the host and port that stands for it."""
    source = FolderSource()
    source.promote(1)
    port = free_port()
    address = f"localhost:{port}"
    app = create_app(settings(tmp_path / "peer", api_peers=address), source=source, read=read)
    app.state.parts.watcher.check()
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the peer starts", 20)
    yield address
    server.should_exit = True
    thread.join(20)


def new_process(home, **values):
    away = FolderSource()
    away.down = True
    own_settings = settings(home, registry_poll_seconds=0.1, **values)
    return away, create_app(own_settings, source=away, read=read)


def test_a_new_process_serves_the_model_of_a_peer_while_the_registry_is_away(peer, tmp_path):
    _, app = new_process(tmp_path / "new", api_peers=peer)
    with TestClient(app) as client:
        wait_until(lambda: client.get("/readyz").is_success, "there is a model", 20)
        assert client.get("/readyz").json()["model"]["from"] == "peer"
        assert client.post("/predict", json=ROW).json()["model"]["version"] == "1"
    # The copy is on its disk now: it starts alone.
    _, again = new_process(tmp_path / "new")
    with TestClient(again) as client:
        assert client.get("/readyz").json()["model"]["from"] == "local copy"


def test_a_bundle_that_nobody_signed_is_not_served(peer, tmp_path):
    source, app = new_process(tmp_path / "new", api_peers=peer)
    tried = []

    def check_files(version, _, statement):
        tried.append((version.version, statement))
        raise ModelRefused("never signed")

    source.check_files = check_files
    with TestClient(app) as client:
        wait_until(lambda: tried, "the peer's model is checked", 20)
        time.sleep(0.3)
        assert client.get("/readyz").status_code == 503
    assert tried[0] == ("1", None)


def test_only_a_peer_gets_the_bundle(tmp_path):
    source = FolderSource()
    source.promote(1)
    with_peers = settings(tmp_path, api_peers="localhost:1")
    app = create_app(with_peers, source=source, read=read)
    app.state.parts.watcher.check()
    with TestClient(app) as client:
        token = {peer_bundles.TOKEN_HEADER: peer_bundles.token(with_peers)}
        assert client.get(peer_bundles.PATH, headers=token).status_code == 200
        for headers in ({}, {peer_bundles.TOKEN_HEADER: "x"}, {peer_bundles.TOKEN_HEADER: ""}):
            assert client.get(peer_bundles.PATH, headers=headers).status_code == 404
    alone = settings(tmp_path)
    with TestClient(create_app(alone, source=source, read=read)) as client:
        token = {peer_bundles.TOKEN_HEADER: peer_bundles.token(alone)}
        assert client.get(peer_bundles.PATH, headers=token).status_code == 404


def test_without_a_secret_to_share_nobody_gets_the_bundle(tmp_path):
    """The token was once the same for every API without a password, so that anybody knew it."""
    source = FolderSource()
    source.promote(1)
    open_api = settings(tmp_path, api_peers="localhost:1", serving_password=None)
    assert peer_bundles.token(open_api) is None
    app = create_app(open_api, source=source, read=read)
    app.state.parts.watcher.check()
    guessed = hmac.new(b"", peer_bundles.PATH.encode(), hashlib.sha256).hexdigest()
    with TestClient(app) as client:
        for shown in (guessed, ""):
            headers = {peer_bundles.TOKEN_HEADER: shown}
            assert client.get(peer_bundles.PATH, headers=headers).status_code == 404


def test_nothing_but_files_below_the_folder_is_unpacked(tmp_path):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in ("../outside", "/tmp/readmit-outside", "compiled/trees.npz"):
            entry = tarfile.TarInfo(name)
            entry.size = 1
            tar.addfile(entry, io.BytesIO(b"x"))
        link = tarfile.TarInfo("link")
        link.type = tarfile.SYMTYPE
        link.linkname = "/etc/passwd"
        tar.addfile(link)
    target = tmp_path / "in"
    peer_bundles.unpack(archive.getvalue(), target)
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "compiled", "trees.npz"]
    for damaged in (b"", b"no archive", archive.getvalue()[:700]):
        with pytest.raises(ModelUnavailable):
            peer_bundles.version_of(damaged)


def test_peers_that_do_not_answer_are_passed_over(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        of_closed_port = settings(tmp_path, api_peers=f"localhost:{port}")
        assert peer_bundles.Peers(of_closed_port).bundle() is None
    assert peer_bundles.Peers(settings(tmp_path, api_peers="nobody.invalid:1")).bundle() is None
    assert peer_bundles.Peers(settings(tmp_path)).bundle() is None
