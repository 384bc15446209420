"""The scenes of the tour, played on the stack of the end-to-end tests and not recorded."""

import pytest

from stack import monitoring
from tour import scenes
from tour.scenes import Scene
from tour.visit import Visit

FADE_MS = 300


def scenes_to_play() -> list[Scene]:
    """Return each scene with a page once, in Spanish and where its page differs in English.

    Both languages do the same (tests/unit/tour). Commands of a scene have tests of their own.
    A scene of a program that this machine does not have, such as Grafana, is left out as in a film.
    """
    pages: set[str] = set()
    chosen = []
    for scene in [*scenes.load("es"), *scenes.load("en")]:
        if scene.when in monitoring.PROGRAMS and monitoring.find_installed(scene.when) is None:
            continue
        if scene.page is not None and scene.page not in pages:
            pages.add(scene.page)
            chosen.append(scene)
    return chosen


@pytest.fixture(scope="module")
def visit(up, tmp_path_factory):
    """Open a browser on the stack for all scenes."""
    with Visit(up.settings, tmp_path_factory.mktemp("tour"), FADE_MS) as opened:
        yield opened


@pytest.mark.parametrize("scene", scenes_to_play(), ids=lambda scene: f"{scene.id}-{scene.page}")
def test_a_page_shows_what_its_scene_tells(visit, scene):
    assert visit.can_show(scene)
    assert len(visit.play(scene)) == len(scene.steps)
