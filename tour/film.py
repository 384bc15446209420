"""Joins pictures and voice: narration by espeak-ng, chapters and subtitles, the film by ffmpeg."""

import subprocess
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from readmit.errors import BadData
from tour.frames import PER_SECOND, Artist, Frame
from tour.scenes import PAUSE_SECONDS, Language, Scene, Step
from tour.visit import Shot

VOICES: dict[Language, str] = {"es": "es-419", "en": "en-us"}
WORDS_PER_MINUTE = 165
MOST_SECONDS = 600
MOST_SECONDS_SHORT = 120
MOST_BYTES = 60_000_000
# The picture of the README: one frame per step of the short cut.
PREVIEW_SIZE = (960, 540)
PREVIEW_MS = 2_600
PREVIEW_QUALITY = 75
MOST_PREVIEW_BYTES = 2_000_000
# Pages have few colours: a palette makes a picture of the docs a third as big.
PICTURE_COLOURS = 128
ENCODING = (
    *("-c:v", "libx264", "-preset", "veryfast", "-crf", "25", "-tune", "stillimage"),
    *("-pix_fmt", "yuv420p", "-r", str(PER_SECOND), "-g", str(10 * PER_SECOND)),
    *("-c:a", "aac", "-b:a", "80k", "-movflags", "+faststart"),
)


class FilmFailed(BadData):
    """The film could not be joined, or breaks a limit; the message says which."""


@dataclass(frozen=True)
class Take:
    """A step as it was recorded."""

    scene: Scene
    step: Step
    shot: Shot
    voice: Path

    @property
    def seconds(self) -> float:
        """How long it lasts, in whole frames: the narration and a pause."""
        with wave.open(str(self.voice)) as sound:
            spoken: float = sound.getnframes() / sound.getframerate()
        n_frames = round((spoken + PAUSE_SECONDS) * PER_SECOND)
        return n_frames / PER_SECOND


def speak(text: str, language: Language, path: Path) -> None:
    """Write the narration of a step as a WAV file."""
    options = ["-v", VOICES[language], "-s", str(WORDS_PER_MINUTE), "-w", str(path)]
    run(["espeak-ng", *options, text])


def join(takes: Sequence[Take], path: Path, most_seconds: float) -> float:
    """Make a film, its subtitles beside it as WebVTT.

    Args:
        takes: the recorded steps, in order.
        path: the film, an MP4 file.
        most_seconds: the longest it may be.

    Returns:
        its length in seconds.

    Raises:
        FilmFailed: ffmpeg failed, or the film is too long or too big.
    """
    length = sum(take.seconds for take in takes)
    if length > most_seconds:
        raise FilmFailed(f"{path.name} would last {length:.0f} s; the limit is {most_seconds:.0f}")
    folder = path.parent / f"{path.stem}.parts"
    folder.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".vtt").write_text(subtitles(takes), encoding="utf-8")
    (folder / "chapters.txt").write_text(chapters(takes), encoding="utf-8")
    write_voice(takes, folder / "voice.wav")
    artist = Artist(folder)
    frames: list[Frame] = []
    for take in takes:
        frames.extend(artist.draw(take.step, take.shot, take.scene.title, take.seconds))
    (folder / "frames.txt").write_text(frame_list(frames), encoding="utf-8")
    inputs = ["-f", "concat", "-i", "frames.txt", "-i", "voice.wav", "-i", "chapters.txt"]
    output = ["-map_metadata", "2", *ENCODING, "-t", f"{length:.2f}", str(path.resolve())]
    run(["ffmpeg", "-v", "error", "-y", *inputs, *output], folder)
    if path.stat().st_size > MOST_BYTES:
        raise FilmFailed(f"{path.name} has {path.stat().st_size} bytes; the limit is {MOST_BYTES}")
    return length


def preview(takes: Sequence[Take], path: Path) -> None:
    """Write an animated WebP that shows how each step ends.

    Raises:
        FilmFailed: it is bigger than a README should load.
    """
    folder = path.parent / f"{path.stem}.parts"
    folder.mkdir(parents=True, exist_ok=True)
    artist = Artist(folder)
    pictures = []
    for take in takes:
        ending = artist.draw_ending(take.step, take.shot, take.scene.title)
        with Image.open(ending.path) as picture:
            pictures.append(picture.resize(PREVIEW_SIZE, Image.Resampling.LANCZOS))
    pictures[0].save(
        path,
        save_all=True,
        append_images=pictures[1:],
        duration=PREVIEW_MS,
        loop=0,
        kmax=1,  # each picture whole: nothing of the one before shines through
        quality=PREVIEW_QUALITY,
        method=6,
    )
    if path.stat().st_size > MOST_PREVIEW_BYTES:
        raise FilmFailed(f"{path.name} is bigger than {MOST_PREVIEW_BYTES} bytes")


def save_picture(take: Take, folder: Path) -> Path:
    """Save what a step shows as a picture of the docs, and return its path."""
    path = folder / f"{take.step.picture}.png"
    with Image.open(take.shot.after) as page:
        palette = page.convert("RGB").quantize(PICTURE_COLOURS, dither=Image.Dither.NONE)
    palette.save(path, optimize=True)
    return path


def subtitles(takes: Sequence[Take]) -> str:
    """Return the narration as WebVTT."""
    lines = ["WEBVTT", ""]
    start = 0.0
    for take in takes:
        end = start + take.seconds
        lines += [f"{clock(start)} --> {clock(end)}", take.step.say, ""]
        start = end
    return "\n".join(lines)


def chapters(takes: Sequence[Take]) -> str:
    """Return one chapter per scene, as ffmpeg reads them."""
    lines = [";FFMETADATA1"]
    starts: dict[str, int] = {}
    ends: dict[str, int] = {}
    titles: dict[str, str] = {}
    position = 0.0
    for take in takes:
        starts.setdefault(take.scene.id, round(position * 1000))
        position += take.seconds
        ends[take.scene.id] = round(position * 1000)
        titles[take.scene.id] = take.scene.title
    for name, title in titles.items():
        lines += ["[CHAPTER]", "TIMEBASE=1/1000", f"START={starts[name]}", f"END={ends[name]}"]
        lines.append(f"title={title}")
    return "\n".join(lines) + "\n"


def clock(seconds: float) -> str:
    """Return a time as WebVTT writes it: 00:01:02.500."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours:02}:{minutes:02}:{rest:06.3f}"


def run(command: Sequence[str | Path], folder: Path | None = None) -> None:
    """Run a program.

    Raises:
        FilmFailed: it is not installed, or it failed.
    """
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise FilmFailed(f"{command[0]} is missing: apt-get install ffmpeg espeak-ng") from error
    if result.returncode != 0:
        raise FilmFailed(f"{command[0]} failed: {result.stderr[-800:]}")


def write_voice(takes: Sequence[Take], path: Path) -> None:
    """Write the narration of all steps, with silence between them."""
    with wave.open(str(path), "wb") as voice:
        for number, take in enumerate(takes):
            with wave.open(str(take.voice)) as sound:
                if number == 0:
                    voice.setparams(sound.getparams())
                n_frames = sound.getnframes()
                voice.writeframes(sound.readframes(n_frames))
                silence = round(take.seconds * sound.getframerate()) - n_frames
                voice.writeframes(bytes(silence * sound.getsampwidth()))


def frame_list(frames: Sequence[Frame]) -> str:
    """Return the list of pictures that ffmpeg joins; the last one is named twice, as it asks."""
    lines = []
    for frame in frames:
        lines += [f"file {frame.path.name}", f"duration {frame.length / PER_SECOND:.2f}"]
    lines.append(f"file {frames[-1].path.name}")
    return "\n".join(lines) + "\n"
