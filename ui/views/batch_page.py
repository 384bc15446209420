"""Batch: upload a CSV, see what is wrong with it, watch it being scored, download the result."""

from collections.abc import Sequence

import streamlit as st

from ui import batch_file, page_parts, scoring, session, wording
from ui.form import Field

SCORED = "batch:scored"
PREVIEW_ROWS = 5
MAX_SHOWN = 50  # the download has all rows


def render() -> None:
    """Draw the page."""
    language = session.language()
    page_parts.header(language.text("batch"), language.text("batch_intro"))
    with page_parts.guarded(), st.spinner(language.text("working")):
        model = session.form_model()
        fields = session.form_fields(model)
    page_parts.banners(model.data_source)
    st.download_button(
        language.text("batch_template"),
        batch_file.template(fields),
        "template.csv",
        "text/csv",
        icon=":material/download:",
    )
    label = language.text("batch_upload", mb=st.get_option("server.maxUploadSize"))
    upload = st.file_uploader(
        label,
        type="csv",
        key="batch:file",
        on_change=st.session_state.pop,
        args=(SCORED, None),
    )
    if upload is None:
        st.info(language.text("batch_empty"), icon=":material/upload_file:")
        return
    show_upload(upload.name, upload.getvalue(), fields)


def show_upload(file_name: str, content: bytes, fields: Sequence[Field]) -> None:
    """Show what a file holds, and offer to score it when that is possible."""
    language = session.language()
    try:
        upload = batch_file.read(content, fields)
    except batch_file.UnreadableFile as error:
        detail = language.text(error.key, **error.parameters)
        st.error(language.text("batch_unreadable", detail=detail), icon=":material/error:")
        return
    n_rows = wording.whole(len(upload.rows), language)
    st.markdown(language.text("batch_rows", n=n_rows, name=f"`{file_name}`"))
    if upload.rows:
        st.dataframe(upload.rows[:PREVIEW_ROWS], hide_index=True)
    if upload.missing:
        names = ", ".join(upload.missing)
        st.error(language.text("batch_missing", names=names), icon=":material/error:")
    elif len(upload.rows) > batch_file.MAX_ROWS:
        limit = wording.whole(batch_file.MAX_ROWS, language)
        st.error(language.text("batch_too_many", n=n_rows, limit=limit), icon=":material/error:")
    elif upload.rows:
        offer_scoring(upload.rows, fields)
    else:
        st.info(language.text("batch_no_rows"), icon=":material/info:")


def offer_scoring(rows: Sequence[dict[str, str]], fields: Sequence[Field]) -> None:
    """Draw the button that scores all rows, and the outcome of the last scoring."""
    if st.button(session.language().text("batch_score"), type="primary", key="batch:score"):
        st.session_state[SCORED] = _outcomes(rows, fields)
    if SCORED in st.session_state:
        show_outcomes(rows, st.session_state[SCORED])


def _outcomes(rows: Sequence[dict[str, str]], fields: Sequence[Field]) -> list[scoring.Outcome]:
    """Score all rows while a bar shows the progress."""
    language = session.language()
    n_rows = wording.whole(len(rows), language)
    bar = st.progress(0.0, language.text("batch_progress", done=0, n=n_rows))
    typed = [batch_file.typed(row, fields) for row in rows]
    outcomes: list[scoring.Outcome] = []
    with page_parts.guarded():
        for chunk in scoring.score(typed, session.client().predict_batch):
            outcomes.extend(chunk)
            n_scored = wording.whole(len(outcomes), language)
            progress = language.text("batch_progress", done=n_scored, n=n_rows)
            bar.progress(len(outcomes) / len(rows), progress)
    bar.empty()
    return outcomes


def show_outcomes(rows: Sequence[dict[str, str]], outcomes: Sequence[scoring.Outcome]) -> None:
    """Show the summary, the rows with errors and the download."""
    language = session.language()
    line_title = language.text("line")
    error_title = language.column("error")
    errors: list[dict[str, object]] = []
    table: list[dict[str, object]] = []
    for line, outcome in enumerate(outcomes, start=2):  # line 1 is the header
        if not outcome.is_scored:
            errors.append({line_title: line, error_title: outcome.error_text(language)})
        if len(table) < MAX_SHOWN:
            table.append({line_title: line, **outcome.shown(language)})
    n_scored = wording.whole(len(outcomes) - len(errors), language)
    n_errors = wording.whole(len(errors), language)
    show = st.warning if errors else st.success
    show(language.text("batch_done", n=n_scored, bad=n_errors), icon=":material/task_alt:")
    if errors:
        st.subheader(language.text("batch_errors"), anchor=False)
        st.dataframe(errors, hide_index=True)
    scored = []
    for row, outcome in zip(rows, outcomes, strict=True):
        scored.append({**row, **outcome.cells()})
    st.download_button(
        language.text("batch_download"),
        batch_file.write(scored),
        "scored.csv",
        "text/csv",
        type="primary",
        key="batch:download",
    )
    st.caption(language.text("batch_first", n=len(table)))
    st.dataframe(table, hide_index=True)
