"""Data: the ledger of batches, what is in quarantine and why, and how old the data is."""

import streamlit as st

from ui import page_parts, page_tables, session, wording
from ui.page_parts import Rows


def render() -> None:
    """Draw the page."""
    text, to = session.text(), session.links()
    page_parts.header(text.data, text.data_intro)
    batches = page_parts.rows(session.client().batches)
    if batches is not None:
        _ledger(batches)
    quarantined = page_parts.rows(session.client().quarantine) if batches is not None else None
    if quarantined is not None:
        _quarantine(quarantined)
    st.subheader(text.tools, anchor=False)
    targets = {
        text.link_airflow: to.airflow,
        text.link_lineage: to.lineage,
        text.link_quality: to.quality,
        text.link_experiments: to.mlflow,
        text.link_grafana: to.grafana,
        text.link_api: f"{to.api}/docs",
    }
    with st.container(horizontal=True):
        for label, url in targets.items():
            st.link_button(label, url)


def _ledger(batches: Rows) -> None:
    text, sums = session.text(), page_tables.totals(batches)
    page_parts.facts(
        {
            text.data_age: wording.age(sums.latest, text),
            text.published_batches: wording.whole(sums.published, text),
            text.published_rows: wording.whole(sums.rows, text),
            text.quarantined_rows: wording.whole(sums.quarantined, text),
        }
    )
    if any(row.get("data_source") == "sample" for row in batches):
        st.warning(text.sample_data, icon=":material/science:")
    st.subheader(text.ledger, anchor=False)
    st.caption(text.ledger_intro)
    page_parts.table(page_tables.ledger(batches, text), text.empty)


def _quarantine(rows: Rows) -> None:
    text = session.text()
    st.subheader(text.quarantine, anchor=False)
    st.caption(text.quarantine_intro)
    page_parts.table(page_tables.quarantine(rows, text), text.quarantine_none)
