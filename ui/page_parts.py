"""Pieces that several pages share: headings, states, cards, links."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from string import Template
from typing import TypeVar

import plotly.graph_objects as go
import streamlit as st

from readmit.client.answer_types import Prediction, ProblemCode
from readmit.client.api_client import ApiDown, Problem
from ui import charts, page_tables, problem_messages, session, wording
from ui.language import Language

Row = TypeVar("Row")
STYLE = Path(__file__).with_name("style.css")
PERCENTAGE = re.compile(r"[\d.]+ %")
SCRIPT = Path(__file__).with_name("screen_readers.js")


def shell(language: Language) -> None:
    """Draw what every page has: the style, and for screen readers the page's language.

    Streamlit sets English itself. Its words on the upload are English too: ours take their place on
    the screen (`--upload`) and as the button's name.
    """
    upload = language.text("upload")
    st.html(f'<style>:root {{--upload: "{upload}";}}\n{STYLE.read_text("utf-8")}</style>')
    script = Template(SCRIPT.read_text("utf-8")).substitute(code=language.code, upload=upload)
    with st.sidebar:
        st.html(f"<script>{script}</script>", unsafe_allow_javascript=True)


def header(title: str, intro: str) -> None:
    """Draw a page's heading."""
    st.title(title, anchor=False)
    st.markdown(intro)


def section(title: str, intro: str) -> None:
    """Draw the heading of a section of a page."""
    st.header(title, anchor=False)
    st.caption(intro)


@contextmanager
def guarded() -> Iterator[None]:
    """Show why the API gives no answer and what to do about it, and end the page there."""
    try:
        yield
    except ApiDown:
        api_down()
        st.stop()
    except Problem as problem:
        no_answer(problem)
        st.stop()


def api_down(retry: Callable[[], None] | None = None) -> None:
    """Say that the service cannot be reached; the button draws the page again, or calls `retry`."""
    language = session.language()
    hint = language.text("api_down_hint", address=session.settings().api_url)
    st.error(f"**{language.text('api_down')}**  \n{hint}", icon=":material/cloud_off:")
    st.button(language.text("try_again"), key="retry", on_click=retry)


def no_answer(problem: Problem) -> None:
    """Show a problem that concerns the whole page."""
    language = session.language()
    if problem.code != ProblemCode.NO_MODEL:
        failed(problem)
        return
    message = f"**{language.text('no_model')}**  \n{language.text('no_model_hint')}"
    st.info(message, icon=":material/hourglass_top:")
    st.link_button(language.text("link_airflow"), session.links().airflow)
    st.button(language.text("try_again"), key="retry")


def failed(failure: problem_messages.Failure) -> None:
    """Show that the service answered with an error."""
    language = session.language()
    detail = problem_messages.reason(failure, language)
    st.error(language.text("failed", detail=detail), icon=":material/error:")


def part_failed(failure: problem_messages.Failure) -> None:
    """Say in place of one part of the page why it is missing."""
    language = session.language()
    detail = problem_messages.reason(failure, language)
    st.caption(language.text("failed", detail=detail))


def load_rows(load: Callable[[], Sequence[Row]]) -> Sequence[Row] | None:
    """Return rows of the API, or None when the database is away (and the page says so)."""
    language = session.language()
    with guarded():
        try:
            return load()
        except Problem as problem:
            detail = problem_messages.reason(problem, language)
            st.warning(language.text("data_away", detail=detail), icon=":material/cloud_off:")
            return None


def chart(figure: go.Figure, key: str) -> None:
    """Draw a chart in the colours of the reader's theme."""
    theme = charts.DARK if st.context.theme.type == "dark" else charts.LIGHT
    st.plotly_chart(charts.in_theme(figure, theme), config=charts.CONFIG, key=key)


def wide_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Draw a table of many columns; those without any value would push others out of sight."""
    st.dataframe(page_tables.without_empty_columns(rows), hide_index=True)


def reasons_in_english(rows: Sequence[Mapping[str, object]]) -> None:
    """Say that reasons are not translated, where the page is not in English and a row has one."""
    if any(row["reason"] for row in rows):
        in_english("reasons_in_english")


def in_english(key: str) -> None:
    """Say that a text for operators is not translated, where the page is not in English."""
    language = session.language()
    if language.code != "en":
        st.caption(language.text(key))


def banners(data_source: str | None) -> None:
    """Say what the reader must know about the served model before trusting a number."""
    language = session.language()
    if data_source == "sample":
        st.warning(language.text("sample_data"), icon=":material/science:")
    if _is_stale():
        st.warning(language.text("stale_model"), icon=":material/sync_problem:")


def _is_stale() -> bool:
    """Return whether the API lost the registry; it may have since the form was made."""
    try:
        return not session.client().ready()["registry"]["up"]
    except (ApiDown, Problem):
        return False  # the page finds out by itself, and says it where it matters


def facts(values: Mapping[str, str]) -> None:
    """Draw a card of named values."""
    cells = []
    for name, value in values.items():
        label = f'<span class="r-small">{escape(name)}</span>'
        # No line ends between a number and its sign.
        text = PERCENTAGE.sub(r'<span class="r-number">\g<0></span>', escape(value))
        cells.append(f"<div>{label}<b>{text}</b></div>")
    st.html(f'<div class="r-card r-facts">{"".join(cells)}</div>')


def score_card(answer: Prediction) -> None:
    """Draw the answer: probability, its meaning in words, the band, and the threshold."""
    st.html(score_html(answer, session.language()))


def score_html(answer: Prediction, language: Language) -> str:
    """Return the card of an answer as HTML.

    The scale ends at twice the threshold, or just above the score.
    """
    probability = answer["probability"]
    threshold = answer["threshold"]
    risk = answer["risk"]
    top = min(1.0, max(2 * threshold, 1.15 * probability, 0.05))
    fill = "r-fill"
    if probability >= threshold:
        fill = "r-fill r-is-above"
    result = escape(language.text("result"))
    decimals = wording.decimals_of(answer)
    percent = wording.percent(probability, decimals)
    score = f"{language.text('probability')} {percent}"
    limit = f"{language.text('threshold')} {wording.percent(threshold, decimals)}"
    in_words = escape(wording.in_plain_words(probability, language))
    band = escape(wording.band(risk, language))
    notes = [
        wording.against_threshold(answer, language),
        wording.by_capacity(answer, language),
        wording.history(answer["history"], language),
    ]
    small = "<br>".join(escape(note) for note in notes if note)
    return (
        f'<section class="r-card" aria-live="polite" aria-label="{result}">'
        f'<div class="r-eyebrow">{result}</div>'
        f'<div class="r-score">{percent}</div>'
        f'<div class="r-words">{in_words}</div>'
        f'<span class="r-band r-{risk}">{band}</span>'
        f'<div class="r-scale" role="img" aria-label="{escape(score)}, {escape(limit)}">'
        f'<div class="{fill}" style="width:{100 * probability / top:.1f}%"></div>'
        f'<div class="r-mark" style="left:{100 * threshold / top:.1f}%"></div></div>'
        f'<div class="r-small">{small}</div></section>'
    )


def model_links(version: str, run_id: str | None, experiment_id: str | None) -> None:
    """Draw the way from an answer to its version, run, batches and lineage.

    A run that was deleted has no experiment any more, and gets no link.
    """
    language = session.language()
    links = session.links()
    with st.container(horizontal=True):
        _link("link_version", links.version(version), "inventory_2", language)
        if run_id and experiment_id:
            _link("link_run", links.run(run_id, experiment_id), "experiment", language)
        _link("link_lineage", links.lineage, "account_tree", language)
        _link("link_quality", links.quality, "fact_check", language)


def _link(key: str, url: str, icon: str, language: Language) -> None:
    st.link_button(language.text(key), url, icon=f":material/{icon}:")
