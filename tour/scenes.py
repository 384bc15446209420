"""The scenes of the tour: what is said, which page is open, what is done and pointed at.

`scenes/es.yml` and `scenes/en.yml` hold the same scenes in two languages. What they click and point
at has names; `targets.yml` says where on a page each of them is found.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from readmit.errors import BadData
from readmit.settings import ROOT

Language = Literal["es", "en"]
LANGUAGES: tuple[Language, ...] = ("es", "en")
FOLDER = ROOT / "tour"
# How fast espeak-ng speaks at `film.WORDS_PER_MINUTE`, measured in both languages; then a pause.
CHARACTERS_PER_SECOND = 14
PAUSE_SECONDS = 0.6


class BadScenes(BadData):
    """A file of scenes cannot be used; the message names the file, the scene and what is wrong."""


class Entry(BaseModel):
    """Text that is typed into a field."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    target: str
    text: str


class Step(BaseModel):
    """One sentence of the narration, and what the hand does meanwhile."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    say: str = Field(min_length=10, max_length=190, description="two lines of subtitles")
    click: str | None = Field(default=None, description="target that is clicked")
    fill: Entry | None = Field(default=None, description="field that is filled")
    upload: Entry | None = Field(default=None, description="field that gets a file of this folder")
    point: str | None = Field(default=None, description="target that must be visible; is framed")
    short: bool = Field(default=False, description="also in the cut of two minutes")
    picture: str | None = Field(
        default=None, pattern=r"^[a-z.-]+$", description="name of the page's picture in the docs"
    )

    @model_validator(mode="after")
    def has_one_action(self) -> Self:
        """Refuse a step with two actions: the hand does one at a time."""
        actions = [action for action in (self.click, self.fill, self.upload) if action]
        if len(actions) > 1:
            raise ValueError("a step has one action")
        return self

    @property
    def target(self) -> str | None:
        """Name of what the hand goes to."""
        entry = self.fill or self.upload
        if entry:
            return entry.target
        return self.click

    @property
    def seconds(self) -> float:
        """About how long the step lasts."""
        return len(self.say) / CHARACTERS_PER_SECOND + PAUSE_SECONDS


class Scene(BaseModel):
    """What is told on one page, or at one command."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str = Field(pattern=r"^[a-z-]+$")
    title: str = Field(min_length=3, max_length=60, description="name of the chapter")
    page: str | None = Field(default=None, pattern=r"^[a-z]+/")
    command: str | None = Field(default=None, description="is run; its output is the page")
    when: Literal["always", "prometheus", "grafana", "cluster", "previous"] = "always"
    changes_stack: bool = Field(default=False, description="left out by --read-only")
    steps: tuple[Step, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def has_a_page(self) -> Self:
        """Refuse a scene without a page, or with two."""
        if (self.page is None) == (self.command is None):
            raise ValueError("a scene has either a page or a command")
        return self


def choose(
    scenes: Sequence[Scene], only: str | None, read_only: bool, with_picture: bool
) -> list[Scene]:
    """Return the scenes to play.

    Args:
        scenes: those of a language.
        only: name of a single scene.
        read_only: leave out the scenes that change the stack.
        with_picture: leave out the scenes without a picture for the docs.
    """
    chosen = []
    for scene in scenes:
        if only is not None and scene.id != only:
            continue
        if read_only and scene.changes_stack:
            continue
        if with_picture and not any(step.picture for step in scene.steps):
            continue
        chosen.append(scene)
    return chosen


def targets() -> dict[str, str]:
    """Return Playwright's selector of each target, by its name."""
    text = (FOLDER / "targets.yml").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, str]).validate_python(yaml.safe_load(text))


def path_of(language: Language) -> Path:
    """Return the file of scenes of a language."""
    return FOLDER / "scenes" / f"{language}.yml"


def load(language: Language) -> list[Scene]:
    """Read the scenes of a language.

    Raises:
        BadScenes: the file breaks the schema, or a scene names a target that is not known.
    """
    path = path_of(language)
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        scenes = TypeAdapter(list[Scene]).validate_python(document)
    except ValidationError as error:
        raise BadScenes(f"{path.name}: {error}") from error
    names = targets()
    for scene in scenes:
        for step in scene.steps:
            for name in (step.target, step.point):
                if name is not None and name not in names:
                    raise BadScenes(f"{path.name}, scene {scene.id}: targets.yml has no {name}")
    return scenes


def estimated_seconds(scenes: list[Scene]) -> float:
    """Return about how long scenes last."""
    return sum(step.seconds for scene in scenes for step in scene.steps)
