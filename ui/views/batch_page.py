"""Batch: upload a CSV, see what is wrong with it, watch it being scored, download the result."""

from collections.abc import Sequence

import streamlit as st

from ui import batch_file, form, page_parts, scoring, session, vocabulary, wording
from ui.form import Field

SCORED = "batch:scored"
PREVIEW = 5
MOST_SHOWN = 50  # the download has all rows


def render() -> None:
    """Draw the page."""
    text = session.text()
    page_parts.header(text.batch, text.batch_intro)
    with page_parts.guarded(), st.spinner(text.working):
        model = session.form_model()
        asked = form.fields(model["contract"], session.seeds(model["contract"]), text)
    page_parts.banners(model)
    template = batch_file.template(asked)
    st.download_button(
        text.batch_template, template, "template.csv", "text/csv", icon=":material/download:"
    )
    label = text.batch_upload.format(mb=st.get_option("server.maxUploadSize"))
    upload = st.file_uploader(label, type="csv", key="batch:file", on_change=_forget)
    if upload is None:
        st.info(text.batch_empty, icon=":material/upload_file:")
        return
    _uploaded(upload.name, upload.getvalue(), asked)


def _forget() -> None:
    st.session_state.pop(SCORED, None)


def _uploaded(name: str, content: bytes, asked: Sequence[Field]) -> None:
    """Say what a file holds, and offer to score it when it can be."""
    text = session.text()
    try:
        found = batch_file.read(content, asked)
    except batch_file.UnreadableFile as error:
        st.error(
            text.batch_unreadable.format(detail=vocabulary.said(str(error), text.code)),
            icon=":material/error:",
        )
        return
    n_rows = wording.whole(len(found.rows), text)
    st.markdown(text.batch_rows.format(n=n_rows, name=f"`{name}`"))
    if found.rows:
        st.dataframe(found.rows[:PREVIEW], hide_index=True)
    if found.missing:
        st.error(text.batch_missing.format(names=", ".join(found.missing)), icon=":material/error:")
    elif len(found.rows) > batch_file.MAX_ROWS:
        limit = wording.whole(batch_file.MAX_ROWS, text)
        st.error(text.batch_too_many.format(n=n_rows, limit=limit), icon=":material/error:")
    elif found.rows:
        _score(found.rows, asked)
    else:
        st.info(text.batch_no_rows, icon=":material/info:")


def _score(rows: Sequence[dict[str, str]], asked: Sequence[Field]) -> None:
    text = session.text()
    n_rows = wording.whole(len(rows), text)
    if st.button(text.batch_score, type="primary", key="batch:score"):
        bar = st.progress(0.0, text.batch_progress.format(done=0, n=n_rows))
        typed = [batch_file.typed(row, asked) for row in rows]
        outcomes: list[scoring.Outcome] = []
        with page_parts.guarded():
            for piece in scoring.score(typed, session.client().predict_batch):
                outcomes += piece
                done = text.batch_progress.format(done=wording.whole(len(outcomes), text), n=n_rows)
                bar.progress(len(outcomes) / len(rows), done)
        bar.empty()
        st.session_state[SCORED] = outcomes
    if SCORED in st.session_state:
        _outcome(rows, st.session_state[SCORED])


def _outcome(rows: Sequence[dict[str, str]], outcomes: Sequence[scoring.Outcome]) -> None:
    """Show the summary, the rows with errors and the download."""
    text = session.text()
    lines = list(enumerate(outcomes, start=2))  # line 1 is the header
    bad = [(line, each.error) for line, each in lines if each.error]
    counts = {"n": wording.whole(len(lines) - len(bad), text), "bad": wording.whole(len(bad), text)}
    show = st.warning if bad else st.success
    show(text.batch_done.format(**counts), icon=":material/task_alt:")
    if bad:
        st.subheader(text.batch_errors, anchor=False)
        said = vocabulary.column("error", text.code)
        errors = [{text.line: line, said: vocabulary.said(error, text.code)} for line, error in bad]
        st.dataframe(errors, hide_index=True)
    scored = [{**row, **each.cells()} for row, each in zip(rows, outcomes, strict=True)]
    st.download_button(
        text.batch_download,
        batch_file.write(scored),
        "scored.csv",
        "text/csv",
        type="primary",
        key="batch:download",
    )
    st.caption(text.batch_first.format(n=min(MOST_SHOWN, len(lines))))
    st.dataframe(
        [{text.line: line, **each.shown(text)} for line, each in lines[:MOST_SHOWN]],
        hide_index=True,
    )
