"""Batch: upload a CSV, see what is wrong with it, watch it being scored, download the result."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ui import batchfile, form, parts, scoring, session, wording
from ui.form import Field

SCORED = "batch:scored"


def render() -> None:
    """Draw the page."""
    text = session.text()
    parts.header(text.batch, text.batch_intro)
    with parts.guarded(), st.spinner(text.working):
        model = session.form_model()
        asked = form.fields(model["contract"], session.seeds(model["contract"]), session.language(), text)
    parts.banners(model)
    template = batchfile.template(asked)
    st.download_button(text.batch_template, template, "template.csv", "text/csv", icon=":material/download:")
    upload = st.file_uploader(text.batch_upload, type="csv", key="batch:file", on_change=_forget)
    if upload is None:
        st.info(text.batch_empty, icon=":material/upload_file:")
        return
    _uploaded(upload.name, upload.getvalue(), model, asked)


def _forget() -> None:
    st.session_state.pop(SCORED, None)


def _uploaded(name: str, content: bytes, model: Mapping[str, Any], asked: Sequence[Field]) -> None:
    """Say what a file holds, and offer to score it when it can be."""
    text = session.text()
    try:
        found = batchfile.read(content, asked)
    except batchfile.UnreadableFile as error:
        st.error(text.batch_unreadable.format(detail=error), icon=":material/error:")
        return
    st.markdown(text.batch_rows.format(n=len(found.rows), name=f"`{name}`"))
    st.dataframe(found.rows[:5], hide_index=True)
    if found.missing:
        st.error(text.batch_missing.format(names=", ".join(found.missing)), icon=":material/error:")
    elif len(found.rows) > batchfile.MAX_ROWS:
        limit = batchfile.MAX_ROWS
        st.error(text.batch_too_many.format(n=len(found.rows), limit=limit), icon=":material/error:")
    elif found.rows:
        _score(found.rows, model, asked)


def _score(rows: Sequence[dict[str, str]], model: Mapping[str, Any], asked: Sequence[Field]) -> None:
    text = session.text()
    if st.button(text.batch_score.format(n=wording.whole(len(rows), text)), type="primary", key="batch:score"):
        bar = st.progress(0.0, text.batch_progress.format(done=0, n=len(rows)))
        typed = [batchfile.typed(row, asked) for row in rows]
        outcomes: list[scoring.Outcome] = []
        with parts.guarded():
            for piece in scoring.score(typed, session.client().predict_batch):
                outcomes += piece
                done = text.batch_progress.format(done=len(outcomes), n=len(rows))
                bar.progress(len(outcomes) / len(rows), done)
        bar.empty()
        st.session_state[SCORED] = outcomes
    if SCORED in st.session_state:
        _outcome(rows, st.session_state[SCORED])


def _outcome(rows: Sequence[dict[str, str]], outcomes: Sequence[scoring.Outcome]) -> None:
    """Show the summary, the rows with errors and the download."""
    text = session.text()
    bad = [(index, each) for index, each in enumerate(outcomes) if each.error]
    show = st.warning if bad else st.success
    show(text.batch_done.format(n=len(outcomes) - len(bad), bad=len(bad)), icon=":material/task_alt:")
    if bad:
        st.subheader(text.batch_errors, anchor=False)
        st.dataframe([{text.row: index + 2, text.problem: each.error} for index, each in bad], hide_index=True)
    scored = [{**row, **each.cells()} for row, each in zip(rows, outcomes, strict=True)]
    st.download_button(
        text.batch_download, batchfile.write(scored), "scored.csv", "text/csv", type="primary", key="batch:download"
    )
    st.dataframe([each.shown(text) for each in outcomes[:50]], hide_index=True)
