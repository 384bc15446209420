"""Data: the ledger of batches, what is in quarantine and why, and how old the data is."""

from collections.abc import Sequence

import streamlit as st

from readmit.client.answer_types import LedgerRow, QuarantinedRow
from ui import page_parts, page_tables, session, wording


def render() -> None:
    """Draw the page."""
    language = session.language()
    page_parts.header(language.text("data"), language.text("data_intro"))
    batches = page_parts.load_rows(session.client().batches)
    if batches is not None:
        show_ledger(batches)
        quarantined = page_parts.load_rows(session.client().quarantine)
        if quarantined is not None:
            show_quarantine(quarantined)
    show_other_pages()


def show_ledger(batches: Sequence[LedgerRow]) -> None:
    """Draw the age and size of the data, and the batches."""
    language = session.language()
    totals = page_tables.totals(batches)
    page_parts.facts(
        {
            language.text("data_age"): wording.age(totals.latest, language),
            language.text("published_batches"): wording.whole(totals.published, language),
            language.text("published_rows"): wording.whole(totals.rows, language),
            language.text("quarantined_rows"): wording.whole(totals.quarantined, language),
        }
    )
    if any(batch["data_source"] == "sample" for batch in batches):
        st.warning(language.text("sample_data"), icon=":material/science:")
    page_parts.section(language.text("ledger"), language.text("ledger_intro"))
    page_parts.in_english("reasons_in_english")
    page_parts.table(page_tables.ledger(batches, language), language.text("empty"))


def show_quarantine(rows: Sequence[QuarantinedRow]) -> None:
    """Draw the rows in quarantine."""
    language = session.language()
    page_parts.section(language.text("quarantine"), language.text("quarantine_intro"))
    page_parts.table(page_tables.quarantine(rows, language), language.text("quarantine_none"))


def show_other_pages() -> None:
    """Draw links to the pages of the other parts."""
    language = session.language()
    links = session.links()
    st.header(language.text("tools"), anchor=False)
    with st.container(horizontal=True):
        st.link_button(language.text("link_airflow"), links.airflow)
        st.link_button(language.text("link_lineage"), links.lineage)
        st.link_button(language.text("link_quality"), links.quality)
        st.link_button(language.text("link_experiments"), links.mlflow)
        st.link_button(language.text("link_grafana"), links.grafana)
        st.link_button(language.text("link_api"), f"{links.api}/docs")
