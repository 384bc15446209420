"""Data: the ledger of batches, the inbox, the quarantine with reasons, and the age of the data."""

from collections.abc import Sequence

import streamlit as st

from readmit.client.answer_types import LedgerRow, QuarantinedRow, ReceivedFile
from ui import charts, page_parts, page_tables, session, wording


def render() -> None:
    """Draw the page."""
    language = session.language()
    page_parts.header(language.text("data"), language.text("data_intro"))
    batches = page_parts.load_rows(session.client().batches)
    if batches is not None:
        show_ledger(batches)
        received = page_parts.load_rows(session.client().inbox)
        if received is not None:
            show_inbox(received)
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
    if not batches:
        st.info(language.text("ledger_none"), icon=":material/upload_file:")
        st.link_button(language.text("link_airflow"), session.links().airflow)
        return
    show_verdicts(batches)
    show_rates(batches)
    page_parts.section(language.text("ledger"), language.text("ledger_intro"))
    page_parts.reasons_in_english(batches)
    page_parts.wide_table(page_tables.ledger(batches, language))


def show_inbox(rows: Sequence[ReceivedFile]) -> None:
    """Draw the files of the inbox."""
    language = session.language()
    page_parts.section(language.text("inbox"), language.text("inbox_intro"))
    offer_upload()
    if not rows:
        st.caption(language.text("inbox_none"))
        return
    page_parts.reasons_in_english(rows)
    page_parts.wide_table(page_tables.inbox(rows, language))


def offer_upload() -> None:
    """Draw what puts a file into the inbox."""
    language = session.language()
    label = language.text("inbox_upload", mb=st.get_option("server.maxUploadSize"))
    upload = st.file_uploader(label, type=["csv", "zip", "gz", "txt", "tsv"], key="inbox:file")
    if upload is None:
        return
    if st.button(language.text("inbox_submit"), type="primary", key="inbox:submit"):
        with page_parts.guarded(), st.spinner(language.text("working")):
            file = session.client().submit(upload.name, upload.getvalue())
        text = language.text("inbox_submitted", name=file["name"])
        st.success(text, icon=":material/task_alt:")


def show_verdicts(batches: Sequence[LedgerRow]) -> None:
    """Draw how many batches and rows have each verdict."""
    language = session.language()
    page_parts.section(language.text("verdicts"), language.text("verdicts_intro"))
    of_batches = page_tables.batches_by_verdict(batches)
    of_rows = page_tables.rows_by_verdict(batches)
    sides = {"ledger": of_batches, "published_rows": of_rows}
    for column, (title, numbers) in zip(st.columns(2, gap="large"), sides.items(), strict=True):
        names = list(map(language.value, numbers))
        texts = []
        for number in numbers.values():
            texts.append(wording.whole(number, language))
        with column:
            st.markdown(f"**{language.text(title)}**")
            page_parts.chart(charts.counts(names, list(numbers.values()), texts), f"counts:{title}")


def show_rates(batches: Sequence[LedgerRow]) -> None:
    """Draw the readmission rate by batch, in the order of publication."""
    language = session.language()
    page_parts.section(language.text("rates"), language.text("rates_intro"))
    outcomes = page_parts.load_rows(session.client().outcomes)
    if outcomes is None:
        return
    rates = page_tables.readmission_rates(batches, outcomes)
    if not rates:
        st.caption(language.text("rates_none"))
        return
    n_stays = sum(outcome["n_stays"] for outcome in outcomes)
    n_readmitted = sum(outcome["n_readmitted"] for outcome in outcomes)
    overall = n_readmitted / n_stays
    title = language.text("rates_order")
    figure = charts.rates(list(rates), list(rates.values()), overall, title)
    page_parts.chart(figure, "rates")
    table = []
    for batch_id, rate in rates.items():
        row = {
            language.column("batch_id"): batch_id,
            language.column("observed"): wording.percent(rate.figure),
            language.text("interval"): language.text(
                "from_to", low=wording.percent(rate.low), high=wording.percent(rate.high)
            ),
        }
        table.append(row)
    with st.expander(language.text("as_table")):
        st.dataframe(table, hide_index=True)


def show_quarantine(rows: Sequence[QuarantinedRow]) -> None:
    """Draw the rows in quarantine."""
    language = session.language()
    page_parts.section(language.text("quarantine"), language.text("quarantine_intro"))
    if not rows:
        st.caption(language.text("quarantine_none"))
        st.link_button(language.text("link_quality"), session.links().quality)
        return
    page_parts.wide_table(page_tables.quarantine(rows, language))


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
