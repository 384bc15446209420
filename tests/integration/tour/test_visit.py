"""A scene whose page lacks its content ends the tour, in a real Chromium and with a real server."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from readmit.settings import StackSettings
from tests.support.services import free_port
from tour.scenes import Scene
from tour.visit import PATIENCE_MS, SceneFailed, Visit

PAGE = "<button id=load onclick=\"document.body.append('here')\">Show</button><canvas></canvas>"


# How long to wait for what never comes.
IMPATIENCE_MS = 2_000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def started(tmp_path):
    """A visit of a stack whose docs site has one page."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text(PAGE)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ports = {"docs_port": server.server_address[1], "prometheus_port": free_port()}
    settings = StackSettings(**ports, readmit_home=tmp_path)
    with Visit(settings, tmp_path) as visiting:
        visiting.targets = {"button": "#load", "shown": "text=here", "missing": "#no-such-thing"}
        yield visiting
    server.shutdown()
    server.server_close()


def scene(page="docs/index.html", **step):
    steps = [{"say": "What is said about this page.", **step}]
    return Scene.model_validate({"id": "a-scene", "title": "A scene", "page": page, "steps": steps})


def test_a_scene_shows_what_a_click_brings(started):
    [shot] = started.play(scene(click="button", point="shown"))
    assert shot.clicked is not None
    assert shot.pointed is not None
    assert shot.before.read_bytes() != shot.after.read_bytes()


@pytest.mark.parametrize("step", [{"point": "missing"}, {"click": "missing"}, {"point": "shown"}])
def test_a_scene_without_its_content_fails(started, step):
    started.context.set_default_timeout(IMPATIENCE_MS)
    started.context.set_default_navigation_timeout(PATIENCE_MS)
    name = next(iter(step.values()))
    with pytest.raises(SceneFailed, match=rf"scene a-scene: .*index.html does not show {name}"):
        started.play(scene(**step))


def test_a_missing_page_fails(started):
    with pytest.raises(
        SceneFailed, match=r"scene a-scene cannot be opened: .*ERR_CONNECTION_REFUSED"
    ):
        started.play(scene(page="prometheus/alerts", point="shown"))


def test_a_command_that_fails_fails_its_scene(started):
    steps = [{"say": "What is said about this page."}]
    failing = Scene.model_validate(
        {"id": "a-scene", "title": "A scene", "command": "ls no-such-file", "steps": steps}
    )
    with pytest.raises(SceneFailed, match=r"`ls no-such-file` failed: .*no-such-file"):
        started.play(failing)
