"""The scenes of the tour: both languages tell the same, in time, with what the pages have."""

import pytest

from readmit.settings import ROOT
from tour import film, scenes
from tour.scenes import LANGUAGES, BadScenes, Scene, Step

COMPONENTS = {"form", "api", "airflow", "mlflow", "docs", "prometheus", "grafana"}


def flattened(scene: Scene) -> list[tuple[object, ...]]:
    """Return the steps of a scene, without its texts."""
    steps = [(step.target, step.point, step.short) for step in scene.steps]
    page = (scene.page or "").replace("?lang=en", "?lang=es")
    for english, spanish in (("/index.html", "/"), ("assignment.en.html", "assignment.html")):
        page = page.replace(english, spanish)
    return [(scene.id, page, scene.command, scene.when), *steps]


@pytest.mark.parametrize("language", LANGUAGES)
def test_scenes_are_valid_and_short_enough(language):
    loaded = scenes.load(language)
    names = [scene.id for scene in loaded]
    assert len(names) == len(set(names))
    assert scenes.estimated_seconds(loaded) < film.MOST_SECONDS
    short = [step.seconds for scene in loaded for step in scene.steps if step.short]
    assert sum(short) < film.MOST_SECONDS_SHORT
    for scene in loaded:
        assert scene.page is None or scene.page.partition("/")[0] in COMPONENTS


def test_both_languages_do_the_same():
    spanish = [flattened(scene) for scene in scenes.load("es")]
    english = [flattened(scene) for scene in scenes.load("en")]
    assert spanish == english


def test_every_target_is_used():
    used = set()
    for scene in scenes.load("es"):
        for step in scene.steps:
            used |= {step.target, step.point}
    assert set(scenes.targets()) == used - {None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {id: a, title: One, page: form/, steps: [{say: Too few}]}", "at least 10 characters"),
        ("- {id: a, title: One, steps: [{say: A sentence.}]}", "either a page or a command"),
        ("- {id: a, title: One, page: form/, steps: [{say: A sentence., point: x}]}", "has no x"),
        ("- {id: a, title: One, page: form/, steps: []}", "at least 1 item"),
        ("- {id: a, title: One, page: form/, when: rain, steps: [{say: A sentence.}]}", "always"),
        ("- {id: a, title: One, page: form/, steps: [{say: A sentence., wait: 3}]}", "Extra"),
    ],
)
def test_a_bad_scene_is_refused(text, message, tmp_path, monkeypatch):
    path = tmp_path / "es.yml"
    path.write_text(text)
    monkeypatch.setattr(scenes, "path_of", lambda language: path)
    with pytest.raises(BadScenes, match=message):
        scenes.load("es")


def test_a_step_does_one_thing():
    fill = {"target": "a", "text": "b"}
    with pytest.raises(ValueError, match="one action"):
        Step.model_validate({"say": "A sentence.", "click": "a", "fill": fill})


def test_a_stack_can_be_filmed_without_a_change():
    loaded = scenes.load("en")
    left_out = set(loaded) - set(scenes.choose(loaded, None, read_only=True, with_picture=False))
    assert {scene.command for scene in left_out} == {"make poison", "make rollback"}


def test_one_scene_or_those_with_pictures_are_chosen():
    loaded = scenes.load("es")
    [form] = scenes.choose(loaded, "form", read_only=True, with_picture=False)
    assert form.id == "form"
    for scene in scenes.choose(loaded, None, read_only=False, with_picture=True):
        assert any(step.picture for step in scene.steps)


def test_each_picture_has_one_step_and_is_in_the_docs():
    names = []
    for language in LANGUAGES:
        for scene in scenes.load(language):
            names += [step.picture for step in scene.steps if step.picture]
    assert len(names) == len(set(names))
    for name in names:
        assert (ROOT / "docs" / "screenshots" / f"{name}.png").is_file(), name
