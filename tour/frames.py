"""Draws the pictures of the film: the page, what is pointed at, the hand, title and subtitles."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import hypot
from pathlib import Path

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from tour.scenes import Step
from tour.visit import Box, Shot

SIZE = (1920, 1080)
PAGE_TOP = 45
PAGE_BOTTOM = 960
PER_SECOND = 25
MOVE_SECONDS = 0.8
CLICK_SECONDS = 0.24
LETTERS_PER_LINE = 90
LONGEST_WORD = 12  # two lines of a caption are about as long
BAR = (20, 24, 29)
TEXT = (236, 240, 244)
SOFT_TEXT = (150, 162, 174)
ACCENT = (255, 138, 0)
# An arrow, its tip at the origin, in pixels.
ARROW = ((0, 0), (0, 34), (8, 27), (14, 41), (20, 38), (14, 25), (25, 25))
JPEG_QUALITY = 92

Point = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """A picture of the film and how many 25ths of a second it stands."""

    path: Path
    length: int


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which comes with Matplotlib, in a size in pixels."""
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)


class Artist:
    """Draws the frames of a film into a folder. The hand stays where the last step left it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hand: Point = (SIZE[0] * 0.6, SIZE[1] * 0.5)
        self.n_frames = 0

    def draw(self, step: Step, shot: Shot, title: str, seconds: float) -> Iterator[Frame]:
        """Draw a step.

        Args:
            step: what is told.
            shot: what its page looks like before and after.
            title: name of the chapter.
            seconds: how long the step lasts.

        Yields:
            the frames, which last that long together.
        """
        rest = round(seconds * PER_SECOND)
        if shot.clicked is not None:
            still = _still(shot.before, shot.address, title, step.say)
            for frame in self._move(still, _middle(shot.clicked)):
                rest -= frame.length
                yield frame
            click = self._save(still, round(CLICK_SECONDS * PER_SECOND), is_click=True)
            rest -= click.length
            yield click
        still = _ending(step, shot, title)
        if shot.pointed is not None:
            for frame in self._move(still, _lower_right(shot.pointed)):
                rest -= frame.length
                yield frame
        yield self._save(still, max(rest, 1))

    def draw_ending(self, step: Step, shot: Shot, title: str) -> Frame:
        """Draw only the last picture of a step, with the hand where it arrives."""
        if shot.clicked is not None:
            self.hand = _middle(shot.clicked)
        if shot.pointed is not None:
            self.hand = _lower_right(shot.pointed)
        return self._save(_ending(step, shot, title), 1)

    def _move(self, still: Image.Image, goal: Point) -> Iterator[Frame]:
        """Move the hand as a person does: on a slight arc, faster in the middle than at the ends.

        The course over time is that of least jerk (Flash and Hogan 1985).
        """
        start = self.hand
        way = (goal[0] - start[0], goal[1] - start[1])
        if hypot(*way) < 4:
            return
        n_frames = round(MOVE_SECONDS * PER_SECOND)
        for number in range(1, n_frames + 1):
            time = number / n_frames
            course = time**3 * (10 - 15 * time + 6 * time**2)
            bend = 0.32 * course * (1 - course)
            self.hand = (
                start[0] + way[0] * course - way[1] * bend,
                start[1] + way[1] * course + way[0] * bend,
            )
            yield self._save(still, 1)

    def _save(self, still: Image.Image, length: int, is_click: bool = False) -> Frame:
        self.n_frames += 1
        path = self.folder / f"frame-{self.n_frames:05}.jpg"
        picture = still.copy()
        draw = ImageDraw.Draw(picture)
        left, top = self.hand
        if is_click:
            draw.ellipse((left - 26, top - 26, left + 26, top + 26), outline=ACCENT, width=6)
        arrow = [(left + right, top + down) for right, down in ARROW]
        draw.polygon(arrow, fill=(255, 255, 255), outline=(0, 0, 0), width=2)
        picture.save(path, quality=JPEG_QUALITY, subsampling=0)
        return Frame(path, length)


def _middle(box: Box) -> Point:
    left, top, right, bottom = box
    return ((left + right) / 2, (top + bottom) / 2 + PAGE_TOP)


def _lower_right(box: Box) -> Point:
    """Return where the hand points at a box: there it hides no text."""
    _, _, right, bottom = box
    return (min(right - 20, SIZE[0] - 60), min(bottom + PAGE_TOP - 10, PAGE_BOTTOM - 60))


def _ending(step: Step, shot: Shot, title: str) -> Image.Image:
    """Return the picture that a step ends with, without the hand."""
    still = _still(shot.after, shot.address, title, step.say)
    if shot.pointed is not None:
        emphasize(still, shot.pointed)
    return still


def _still(page: Path, address: str, title: str, caption: str) -> Image.Image:
    """Return a picture of a page with the title above and the subtitle below it."""
    still = Image.new("RGB", SIZE, BAR)
    with Image.open(page) as picture:
        still.paste(picture.convert("RGB"), (0, PAGE_TOP))
    draw = ImageDraw.Draw(still)
    draw.text((24, 8), title, font=font(24), fill=TEXT)
    draw.text((SIZE[0] - 24, 11), address[:90], font=font(19), fill=SOFT_TEXT, anchor="ra")
    lines = caption
    if len(caption) > LETTERS_PER_LINE:
        lines = textwrap.fill(caption, len(caption) // 2 + LONGEST_WORD)
    middle = (SIZE[0] / 2, (PAGE_BOTTOM + SIZE[1]) / 2)
    draw.multiline_text(
        middle, lines, font=font(32), fill=TEXT, anchor="mm", align="center", spacing=10
    )
    return still


def emphasize(still: Image.Image, box: Box) -> None:
    """Draw a frame around what is pointed at, and dim the rest of the page a little."""
    left, top, right, bottom = box
    frame = (
        max(left - 8, 2),
        max(top + PAGE_TOP - 8, PAGE_TOP),
        min(right + 8, SIZE[0] - 2),
        min(bottom + PAGE_TOP + 8, PAGE_BOTTOM),
    )
    mask = Image.new("L", SIZE, 0)
    draw = ImageDraw.Draw(mask)
    draw.rectangle((0, PAGE_TOP, SIZE[0], PAGE_BOTTOM), fill=45)
    draw.rounded_rectangle(frame, radius=12, fill=0)
    still.paste(Image.new("RGB", SIZE, BAR), (0, 0), mask)
    ImageDraw.Draw(still).rounded_rectangle(frame, radius=12, outline=ACCENT, width=5)
