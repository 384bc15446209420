"""Pieces that several pages share: headings, states, cards, links."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import TypeVar

import streamlit as st

from readmit.client.answer_types import Prediction, ProblemCode
from readmit.client.api_client import ApiDown, Problem
from ui import problem_messages, session, wording
from ui.language import Language

Row = TypeVar("Row")
STYLE = """
<style>
.block-container, [data-testid="stMainBlockContainer"] {max-width: 1120px; padding-top: 3.2rem;}
h1 {font-size: 1.9rem !important; letter-spacing: -.01em;}
h2 {font-size: 1.25rem !important;} h3 {font-size: 1.05rem !important;}
.r-card {background: #fff; border: 1px solid #d5e2e1; border-radius: .8rem;
 padding: 1.3rem 1.5rem; margin: .2rem 0 .8rem;}
.r-eyebrow {font-size: .82rem; letter-spacing: .05em; text-transform: uppercase; color: #4d6a68;}
.r-score {font-size: 3.1rem; font-weight: 650; line-height: 1.1; font-variant-numeric: tabular-nums;}
.r-words {font-size: 1.12rem; margin: .25rem 0 .7rem;}
.r-band {display: inline-block; padding: .12rem .7rem; border-radius: 1rem; font-weight: 600; font-size: .95rem;}
.r-low {background: #ddf0ea; color: #0a5347;} .r-medium {background: #fdf0d0; color: #6d4a00;}
.r-high {background: #fbe0d5; color: #852f0c;}
.r-scale {position: relative; height: .7rem; border-radius: .4rem; background: #e6eeee; margin: 1.1rem 0 .5rem;}
.r-fill {position: absolute; inset: 0 auto 0 0; border-radius: .4rem; background: #0b6e6e;}
.r-fill.r-is-above {background: #b4532a;}
.r-mark {position: absolute; top: -.28rem; bottom: -.28rem; width: 2px; background: #15302f;}
.r-small {font-size: .9rem; color: #3f5b59;}
.r-facts {display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .9rem;}
.r-facts b {display: block; font-size: 1.25rem; font-weight: 620; overflow-wrap: anywhere;}
.st-key-result {scrollbar-width: thin;}
@media (min-width: 900px) {[data-testid="stColumn"]:has(.st-key-result) {position: sticky; top: 3.6rem;
 align-self: flex-start; max-height: calc(100vh - 14rem); overflow-y: auto;}}
@media (max-width: 640px) {.r-score {font-size: 2.5rem;} .r-card {padding: 1rem;}
 [data-testid="stMainBlockContainer"] {padding-left: 1rem; padding-right: 1rem;}}
[data-testid="stFileUploaderDropzoneInstructions"],
[data-testid="stFileUploaderDropzone"] [data-testid="stBaseButton-secondary"] > * {display: none;}
[data-testid="stFileUploaderDropzone"] [data-testid="stBaseButton-secondary"]::after {content: "%s";}
</style>
"""


def shell(language: Language) -> None:
    """Draw what every page has: the style, and the page's language for screen readers.

    Streamlit sets English itself; its own words on the upload are replaced for the same reason.
    """
    st.html(STYLE.replace("%s", language.text("upload")))
    with st.sidebar:
        st.html(
            f"<script>document.documentElement.lang = '{language.code}';</script>",
            unsafe_allow_javascript=True,
        )


def header(title: str, intro: str) -> None:
    """Draw a page's heading."""
    st.title(title, anchor=False)
    st.markdown(intro)


def section(title: str, intro: str) -> None:
    """Draw the heading of a section of a page."""
    st.subheader(title, anchor=False)
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


def table(rows: Sequence[Mapping[str, object]], empty: str) -> None:
    """Draw rows as a table, or say that there are none."""
    if rows:
        st.dataframe(rows, hide_index=True)
    else:
        st.caption(empty)


def in_english() -> None:
    """Say that the texts of operators are not translated, where the page is not in English."""
    language = session.language()
    if language.code != "en":
        st.caption(language.text("in_english"))


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
        cells.append(f"<div>{label}<b>{escape(value)}</b></div>")
    st.html(f'<div class="r-card r-facts">{"".join(cells)}</div>')


def score_card(answer: Prediction) -> None:
    """Draw the answer: probability, its meaning in words, the band, and where the threshold lies."""
    st.html(score_html(answer, session.language()))


def score_html(answer: Prediction, language: Language) -> str:
    """Return the card of an answer as HTML.

    The scale ends at twice the threshold, or just above the score.
    """
    probability = answer["probability"]
    threshold = answer["threshold"]
    risk = answer["risk"]
    top = min(1.0, max(2 * threshold, 1.15 * probability, 0.05))
    fill = "r-fill r-is-above" if probability >= threshold else "r-fill"
    result = escape(language.text("result"))
    percent = wording.percent(probability)
    score = f"{language.text('probability')} {percent}"
    limit = f"{language.text('threshold')} {wording.percent(threshold)}"
    in_words = escape(wording.in_plain_words(probability, language))
    band = escape(wording.band(risk, language))
    against_threshold = escape(wording.against_threshold(answer, language))
    history = escape(wording.history(answer["history"], language))
    return (
        f'<section class="r-card" aria-live="polite" aria-label="{result}">'
        f'<div class="r-eyebrow">{result}</div>'
        f'<div class="r-score">{percent}</div>'
        f'<div class="r-words">{in_words}</div>'
        f'<span class="r-band r-{risk}">{band}</span>'
        f'<div class="r-scale" role="img" aria-label="{escape(score)}, {escape(limit)}">'
        f'<div class="{fill}" style="width:{100 * probability / top:.1f}%"></div>'
        f'<div class="r-mark" style="left:{100 * threshold / top:.1f}%"></div></div>'
        f'<div class="r-small">{against_threshold}<br>{history}</div></section>'
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
