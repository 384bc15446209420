"""Batch: upload a CSV, see what is wrong with it, watch it being scored, download the result."""

from collections.abc import Sequence
from functools import partial
from typing import cast

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from ui import batch_file, page_parts, scoring, session, wording
from ui.form import Field

SCORED = "batch:scored"
SCORED_NAME = "batch:scored_name"
READ = "batch:read"
MISSING_SHOWN = 8  # names of missing columns


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
        batch_file.template(fields, language.code),
        "template.csv",
        "text/csv",
        icon=":material/download:",
    )
    label = language.text("batch_upload", mb=st.get_option("server.maxUploadSize"))
    upload = st.file_uploader(
        label,
        type=["csv", "txt", "tsv"],
        key="batch:file",
        on_change=st.session_state.pop,
        args=(SCORED, None),
    )
    if upload is not None:
        show_upload(upload, fields)
    elif SCORED in st.session_state:
        # Streamlit drops an upload when its page is left; the result is still here.
        name = f"`{st.session_state[SCORED_NAME]}`"
        st.info(language.text("batch_kept", name=name), icon=":material/history:")
        show_scored(st.session_state[SCORED])
    else:
        st.info(language.text("batch_empty"), icon=":material/upload_file:")


def show_upload(upload: UploadedFile, fields: Sequence[Field]) -> None:
    """Show what a file holds, and offer to score it when that is possible."""
    language = session.language()
    try:
        file = _read(upload, fields)
    except batch_file.UnreadableFile as error:
        detail = language.text(error.key, **error.parameters)
        st.error(language.text("batch_unreadable", detail=detail), icon=":material/error:")
        return
    if file.is_too_long:
        limit = wording.whole(batch_file.MAX_ROWS, language)
        st.error(language.text("batch_too_many", limit=limit), icon=":material/error:")
        return
    n_rows = wording.whole(file.n_rows, language)
    st.markdown(language.text("batch_rows", n=n_rows, name=f"`{upload.name}`"))
    if file.preview:
        st.dataframe(file.preview, hide_index=True)
        unread = batch_file.unread_columns(list(file.preview[0]), fields)
        if unread:
            st.text(language.text("batch_unread", names=", ".join(unread)))
    if file.missing:
        names = ", ".join(file.missing[:MISSING_SHOWN])
        n_more = len(file.missing) - MISSING_SHOWN
        if n_more > 0:
            names = language.text("and_more", names=names, n=n_more)
        st.error(language.text("batch_missing", names=names), icon=":material/error:")
    elif file.n_rows:
        offer_scoring(file, upload.name, fields)
    else:
        st.info(language.text("batch_no_rows"), icon=":material/info:")


def _read(upload: UploadedFile, fields: Sequence[Field]) -> batch_file.Upload:
    """Read a file once: the page runs again at each click."""
    names = tuple(field.name for field in fields)
    key = (upload.file_id, names)
    former = st.session_state.get(READ)
    if former is None or former[0] != key:
        former = (key, batch_file.read(upload.getvalue(), fields))
        st.session_state[READ] = former
    return cast(batch_file.Upload, former[1])


def offer_scoring(file: batch_file.Upload, name: str, fields: Sequence[Field]) -> None:
    """Draw the button that scores all rows, and the outcome of the last scoring."""
    if st.button(session.language().text("batch_score"), type="primary", key="batch:score"):
        st.session_state[SCORED] = _scored(file, fields)
        st.session_state[SCORED_NAME] = name
    if SCORED in st.session_state:
        show_scored(st.session_state[SCORED])


def _scored(file: batch_file.Upload, fields: Sequence[Field]) -> scoring.ScoredFile:
    """Score all rows while a bar shows the progress."""
    language = session.language()
    n_rows = wording.whole(file.n_rows, language)
    bar = st.progress(0.0, language.text("batch_progress", done=0, n=n_rows))
    scored = scoring.ScoredFile()
    calls = session.calls_per_100()
    scorer = partial(session.client().predict_batch, certainty=True, calls_per_100=calls)
    with page_parts.guarded():
        for scored in scoring.score(file, fields, scorer, language.code):
            n_scored = wording.whole(scored.n_rows, language)
            progress = language.text("batch_progress", done=n_scored, n=n_rows)
            bar.progress(scored.n_rows / file.n_rows, progress)
    bar.empty()
    return scored


def show_scored(scored: scoring.ScoredFile) -> None:
    """Show the summary, the rows with errors and the download."""
    language = session.language()
    line_title = language.text("line")
    error_title = language.column("error")
    n_scored = wording.whole(scored.n_rows - scored.n_errors, language)
    n_errors = wording.whole(scored.n_errors, language)
    show = st.warning if scored.n_errors else st.success
    show(language.text("batch_done", n=n_scored, bad=n_errors), icon=":material/task_alt:")
    if scored.errors:
        st.header(language.text("batch_errors"), anchor=False)
        errors = []
        for line, outcome in scored.errors.items():
            errors.append({line_title: str(line), error_title: outcome.error_text(language)})
        st.dataframe(errors, hide_index=True)
    st.download_button(
        language.text("batch_download"),
        scored.text,
        "scored.csv",
        "text/csv",
        type="primary",
        key="batch:download",
    )
    if scored.n_rows > len(scored.first):
        st.caption(language.text("batch_first", n=len(scored.first)))
    table = []
    for line, outcome in scored.first.items():
        table.append({line_title: str(line), **outcome.shown(language)})
    page_parts.wide_table(table)
