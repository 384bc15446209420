"""The scenes of the tour, played on the stack of the end-to-end tests and not recorded."""

import pytest

from stack import monitoring
from tour import scenes
from tour.visit import Visit

FADE_MS = 300


def scenes_to_play() -> list:
    """Return each scene with a page once, in Spanish and where its page differs in English.

    The form's English pages are part of make test-full: both languages do the same, on the same
    targets (tests/unit/tour/test_scenes.py), and tests/e2e/ui/test_browser.py uses these pages.
    Commands of a scene have tests of their own. A scene of a program that this machine does not
    have, such as Grafana, is left out as in a film.
    """
    pages: set[str] = set()
    chosen = []
    for language in ("es", "en"):
        for scene in scenes.load(language):
            if scene.when in monitoring.PROGRAMS and monitoring.find_installed(scene.when) is None:
                continue
            if scene.page is not None and scene.page not in pages:
                pages.add(scene.page)
                is_full = language == "en" and scene.page.startswith("form/")
                marks = [pytest.mark.full] if is_full else []
                chosen.append(pytest.param(scene, marks=marks, id=f"{scene.id}-{scene.page}"))
    return chosen


@pytest.fixture(scope="module")
def visit(up, tmp_path_factory):
    """Open a browser on the stack for all scenes."""
    with Visit(up.settings, tmp_path_factory.mktemp("tour"), FADE_MS) as opened:
        yield opened


@pytest.mark.parametrize("scene", scenes_to_play())
def test_a_page_shows_what_its_scene_tells(visit, scene):
    assert visit.can_show(scene)
    assert len(visit.play(scene)) == len(scene.steps)
