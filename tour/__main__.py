"""`make tour`: record the guided tour of the running stack, in Spanish and English.

Each language gets a film, its subtitles and a cut of two minutes in `build/tour/`.
`--check` plays the scenes without recording, `--pictures` renews the pictures of the docs.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from readmit.command import explained
from readmit.inherited_environment import forget_the_shell
from readmit.settings import ROOT, StackSettings
from stack.configuration import stack_settings
from tour import film, scenes
from tour.visit import HEIGHT, PICTURE_HEIGHT, Visit

OUTPUT = ROOT / "build" / "tour"
PICTURES = ROOT / "docs" / "screenshots"


def play(
    chosen: Sequence[scenes.Scene],
    settings: StackSettings,
    folder: Path,
    console: Console,
    height: int = HEIGHT,
) -> list[film.Take]:
    """Play scenes on the running stack.

    Args:
        chosen: the scenes, in one language.
        settings: those of the running stack.
        folder: gets the pictures and the narration.
        console: gets a line per scene.
        height: of the pages, in points.

    Returns:
        the recorded steps. Scenes that this stack cannot show are left out.

    Raises:
        SceneFailed: a page does not show what its scene tells.
    """
    takes: list[film.Take] = []
    with Visit(settings, folder, height=height) as visit:
        for scene in chosen:
            if not visit.can_show(scene):
                console.print(f"{scene.id}: left out, this stack has no {scene.when}")
                continue
            for step, shot in zip(scene.steps, visit.play(scene), strict=True):
                voice = folder / f"voice-{len(takes):03}.wav"
                takes.append(film.Take(scene, step, shot, voice))
            console.print(f"{scene.id}: {len(scene.steps)} steps")
    return takes


def record(takes: list[film.Take], language: scenes.Language, console: Console) -> None:
    """Make the films of a language from its recorded steps."""
    for take in takes:
        film.speak(take.step.say, language, take.voice)
    short = [take for take in takes if take.step.short]
    path = OUTPUT / f"tour.{language}.mp4"
    seconds = film.join(takes, path, film.MOST_SECONDS)
    console.print(f"{path.relative_to(ROOT)}: {seconds:.0f} s, {path.stat().st_size / 1e6:.1f} MB")
    if short:
        path = OUTPUT / f"tour.{language}.short.mp4"
        seconds = film.join(short, path, film.MOST_SECONDS_SHORT)
        console.print(f"{path.relative_to(ROOT)}: {seconds:.0f} s")
        film.preview(short, OUTPUT / f"tour.{language}.webp")
    for parts in OUTPUT.glob(f"tour.{language}*.parts"):
        shutil.rmtree(parts)


def save_pictures(takes: Sequence[film.Take], console: Console) -> None:
    """Renew the pictures of the docs that these steps show."""
    for take in takes:
        if take.step.picture is not None:
            path = film.save_picture(take, PICTURES)
            console.print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e3:.0f} kB")


@explained
def main() -> int:
    """Record the tour, or play it only."""
    parser = argparse.ArgumentParser(prog="make tour", description=__doc__)
    parser.add_argument("--language", choices=scenes.LANGUAGES, help="one language only")
    parser.add_argument("--only", help="one scene only")
    parser.add_argument("--check", action="store_true", help="play the scenes, record nothing")
    parser.add_argument(
        "--pictures", action="store_true", help="renew docs/screenshots/, record no film"
    )
    parser.add_argument(
        "--read-only", action="store_true", help="leave out the scenes that change the stack"
    )
    options = parser.parse_args()
    console = Console(highlight=False)
    settings = stack_settings()
    languages = [options.language] if options.language else scenes.LANGUAGES
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for language in languages:
        chosen = scenes.choose(
            scenes.load(language), options.only, options.read_only, options.pictures
        )
        console.print(f"language {language}: {len(chosen)} scenes")
        with tempfile.TemporaryDirectory() as folder:
            if options.pictures:
                for scene in chosen:  # one by one: those before a scene that fails are saved
                    takes = play([scene], settings, Path(folder), console, PICTURE_HEIGHT)
                    save_pictures(takes, console)
                continue
            takes = play(chosen, settings, Path(folder), console)
            if not options.check:
                record(takes, language, console)
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
