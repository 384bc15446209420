"""`make tour`: record the guided tour of the running stack, in Spanish and English.

Each language gets a film, its subtitles and a cut of two minutes in `build/tour/`.
`--check` plays the scenes without recording.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from readmit.command import explained
from readmit.inherited_environment import forget_the_shell
from readmit.settings import ROOT, StackSettings
from stack.configuration import stack_settings
from tour import film, scenes
from tour.visit import Visit

OUTPUT = ROOT / "build" / "tour"


def play(
    language: scenes.Language,
    settings: StackSettings,
    folder: Path,
    console: Console,
    only: str | None = None,
) -> list[film.Take]:
    """Play the scenes of a language on the running stack.

    Args:
        language: of the narration and the form.
        settings: those of the running stack.
        folder: gets the pictures and the narration.
        console: gets a line per scene.
        only: name of the one scene that is played.

    Returns:
        the recorded steps. Scenes that this stack cannot show are left out.

    Raises:
        SceneFailed: a page does not show what its scene tells.
    """
    takes: list[film.Take] = []
    with Visit(settings, folder) as visit:
        for scene in scenes.load(language):
            if only not in (None, scene.id):
                continue
            if not visit.can_show(scene):
                console.print(f"{language} {scene.id}: left out, this stack has no {scene.when}")
                continue
            for step, shot in zip(scene.steps, visit.play(scene), strict=True):
                voice = folder / f"voice-{len(takes):03}.wav"
                takes.append(film.Take(scene, step, shot, voice))
            console.print(f"{language} {scene.id}: {len(scene.steps)} steps")
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


@explained
def main() -> int:
    """Record the tour, or play it only."""
    parser = argparse.ArgumentParser(prog="make tour", description=__doc__)
    parser.add_argument("--language", choices=scenes.LANGUAGES, help="one language only")
    parser.add_argument("--only", help="one scene only")
    parser.add_argument("--check", action="store_true", help="play the scenes, record nothing")
    options = parser.parse_args()
    console = Console(highlight=False)
    settings = stack_settings()
    languages = [options.language] if options.language else scenes.LANGUAGES
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for language in languages:
        with tempfile.TemporaryDirectory() as folder:
            takes = play(language, settings, Path(folder), console, options.only)
            if not options.check:
                record(takes, language, console)
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
