"""The film: frames last as long as the narration; subtitles and chapters follow it; limits hold."""

import wave
from dataclasses import replace

import pytest
from PIL import Image

from tour import film
from tour.film import FilmFailed, Take
from tour.frames import PER_SECOND, SIZE, Artist
from tour.scenes import Scene
from tour.visit import HEIGHT, SCALE, WIDTH, Shot

SCENE = Scene.model_validate(
    {
        "id": "form",
        "title": "The form",
        "page": "form/",
        "steps": [
            {"say": "A first sentence.", "click": "a"},
            {"say": "A second one.", "point": "b"},
        ],
    }
)


@pytest.fixture
def takes(tmp_path):
    """Two recorded steps of 2.4 s each and a pause."""
    page = tmp_path / "page.png"
    Image.new("RGB", (int(WIDTH * SCALE), int(HEIGHT * SCALE)), "white").save(page)
    voice = tmp_path / "voice.wav"
    with wave.open(str(voice), "wb") as sound:
        sound.setparams((1, 2, 1000, 0, "NONE", "not compressed"))
        sound.writeframes(bytes(2 * 2400))
    box = (100.0, 100.0, 300.0, 200.0)
    shots = [Shot(page, page, "x", box, None), Shot(page, page, "x", None, box)]
    return [Take(SCENE, step, shot, voice) for step, shot in zip(SCENE.steps, shots, strict=True)]


def test_frames_last_as_long_as_the_narration(takes, tmp_path):
    artist = Artist(tmp_path)
    for take in takes:
        frames = list(artist.draw(take.step, take.shot, SCENE.title, take.seconds))
        assert sum(frame.length for frame in frames) == pytest.approx(take.seconds * PER_SECOND)
    with Image.open(frames[-1].path) as picture:
        assert picture.size == SIZE


def test_the_preview_draws_one_picture_per_step_and_it_is_the_last_of_the_film(takes, tmp_path):
    film.preview(takes, tmp_path / "tour.webp")
    drawn = sorted((tmp_path / "tour.parts").glob("*.jpg"))
    assert len(drawn) == len(takes)
    artist = Artist(tmp_path)
    for take, path in zip(takes, drawn, strict=True):
        *_, last = artist.draw(take.step, take.shot, SCENE.title, take.seconds)
        assert last.path.read_bytes() == path.read_bytes()
    with Image.open(tmp_path / "tour.webp") as preview:
        assert preview.n_frames == len(takes)


def test_a_picture_of_the_docs_is_the_page_alone(takes, tmp_path):
    shown = replace(takes[1], step=takes[1].step.model_copy(update={"picture": "form"}))
    path = film.save_picture(shown, tmp_path)
    assert path == tmp_path / "form.png"
    with Image.open(path) as picture, Image.open(shown.shot.after) as page:
        assert picture.convert("RGB").tobytes() == page.convert("RGB").tobytes()


def test_subtitles_and_chapters_follow_each_other(takes):
    assert film.subtitles(takes).splitlines()[2:7] == [
        "00:00:00.000 --> 00:00:03.000",
        "A first sentence.",
        "",
        "00:00:03.000 --> 00:00:06.000",
        "A second one.",
    ]
    assert "START=0\nEND=6000\ntitle=The form\n" in film.chapters(takes)


def test_a_film_that_is_too_long_is_not_made(takes, tmp_path):
    with pytest.raises(FilmFailed, match="would last 6 s; the limit is 5"):
        film.join(takes, tmp_path / "tour.mp4", 5)


def test_a_program_that_is_missing_is_named():
    with pytest.raises(FilmFailed, match="apt-get install ffmpeg espeak-ng"):
        film.run(["no-such-program"])
