"""Pieces that several pages share: headings, states, cards, links."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import streamlit as st

from readmit.client.api_client import ApiDown, Problem
from ui import problem_messages, session, wording
from ui.messages import Messages

Rows = Sequence[Mapping[str, Any]]

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


def shell(text: Messages) -> None:
    """Draw what every page has: the style, and the page's language for screen readers (Streamlit knows English only).

    Streamlit's own words on the upload are replaced for the same reason.
    """
    st.html(STYLE.replace("%s", text.upload))
    with st.sidebar:
        st.html(
            f"<script>document.documentElement.lang = '{text.code}';</script>",
            unsafe_allow_javascript=True,
        )


def header(title: str, intro: str) -> None:
    """Draw a page's heading."""
    st.title(title, anchor=False)
    st.markdown(intro)


@contextmanager
def guarded() -> Iterator[None]:
    """Turn a failing API into a state of the page that says what happened and what to do; ends the run there."""
    try:
        yield
    except ApiDown:
        api_down()
        st.stop()
    except Problem as problem:
        no_answer(problem)
        st.stop()


def api_down(again: Callable[[], None] | None = None) -> None:
    """Say that the service cannot be reached, and offer to try again: to draw the page, or to do `again`."""
    text = session.text()
    hint = text.api_down_hint.format(address=session.settings().api_url)
    st.error(f"**{text.api_down}**  \n{hint}", icon=":material/cloud_off:")
    st.button(text.try_again, key="retry", on_click=again)


def no_answer(problem: Problem) -> None:
    """Show a problem that concerns the whole page; 503 from the model's routes means that none is served yet."""
    text = session.text()
    if problem.status == problem_messages.UNAVAILABLE:
        st.info(f"**{text.no_model}**  \n{text.no_model_hint}", icon=":material/hourglass_top:")
        st.link_button(text.link_airflow, session.links().airflow)
        st.button(text.try_again, key="retry")
    else:
        st.error(
            text.failed.format(detail=problem_messages.said(problem, text)), icon=":material/error:"
        )


def rows(ask: Callable[[], Rows]) -> Rows | None:
    """Return what the API gives, or None when the database is away (and the page says so)."""
    text = session.text()
    with guarded():
        try:
            return ask()
        except Problem as problem:
            st.warning(
                text.data_away.format(detail=problem_messages.said(problem, text)),
                icon=":material/cloud_off:",
            )
            return None


def table(found: Rows, empty: str) -> None:
    """Draw rows as a table, or say that there are none."""
    if found:
        st.dataframe(found, hide_index=True)
    else:
        st.caption(empty)


def banners(model: Mapping[str, Any]) -> None:
    """Say what the reader must know about the served model before trusting a number."""
    text = session.text()
    if model.get("data_source") == "sample":
        st.warning(text.sample_data, icon=":material/science:")
    if _is_stale():
        st.warning(text.stale_model, icon=":material/sync_problem:")


def _is_stale() -> bool:
    """Ask whether the API still reaches the registry; the form's model was asked for once, when the form was made."""
    try:
        return not session.client().ready()["registry"]["up"]
    except (ApiDown, Problem):
        return False  # the page finds out by itself, and says it where it matters


def facts(values: Mapping[str, str]) -> None:
    """Draw a card of named values."""
    cells = "".join(
        f'<div><span class="r-small">{escape(name)}</span><b>{escape(value)}</b></div>'
        for name, value in values.items()
    )
    st.html(f'<div class="r-card r-facts">{cells}</div>')


def score_card(answer: Mapping[str, Any]) -> None:
    """Draw the answer: probability, its meaning in words, the band, and where the threshold lies."""
    st.html(score_html(answer))


def score_html(answer: Mapping[str, Any]) -> str:
    """Return the card of an answer as HTML; the scale ends at twice the threshold or just above the score."""
    text = session.text()
    probability, threshold, risk = answer["probability"], answer["threshold"], str(answer["risk"])
    top = min(1.0, max(2 * threshold, 1.15 * probability, 0.05))
    is_above = " r-is-above" if probability >= threshold else ""
    colour = risk if risk in ("low", "medium", "high") else ("high" if is_above else "low")
    scale = f"{text.probability} {wording.percent(probability)}, {text.threshold} {wording.percent(threshold)}"
    return (
        f'<section class="r-card" aria-live="polite" aria-label="{escape(text.result)}">'
        f'<div class="r-eyebrow">{escape(text.result)}</div>'
        f'<div class="r-score">{wording.percent(probability)}</div>'
        f'<div class="r-words">{escape(wording.in_plain_words(probability, text))}</div>'
        f'<span class="r-band r-{colour}">{escape(wording.band(risk, text))}</span>'
        f'<div class="r-scale" role="img" aria-label="{escape(scale)}">'
        f'<div class="r-fill{is_above}" style="width:{100 * probability / top:.1f}%"></div>'
        f'<div class="r-mark" style="left:{100 * threshold / top:.1f}%"></div></div>'
        f'<div class="r-small">{escape(wording.against_threshold(answer, text))}<br>'
        f"{escape(wording.history(answer.get('history', ''), text))}</div></section>"
    )


def model_links(model: Mapping[str, Any]) -> None:
    """Draw the way from an answer to its version, run, batches and lineage; a run that is gone has no link."""
    text, to = session.text(), session.links()
    run, experiment = model.get("run_id"), model.get("experiment_id")
    targets = (
        (text.link_version, to.version(model["version"]), ":material/inventory_2:"),
        *(
            [(text.link_run, to.run(run, experiment), ":material/experiment:")]
            if run and experiment
            else []
        ),
        (text.link_lineage, to.lineage, ":material/account_tree:"),
        (text.link_quality, to.quality, ":material/fact_check:"),
    )
    with st.container(horizontal=True):
        for label, url, icon in targets:
            st.link_button(label, url, icon=icon)
