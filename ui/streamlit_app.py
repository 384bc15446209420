"""Entry point of the web form: `streamlit run ui/streamlit_app.py` with the repository's root on PYTHONPATH."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import streamlit as st

from ui import page_parts, session
from ui.messages import LANGUAGES, Messages
from ui.views import batch_page, data_page, model_page, predict_page

ICON = Path(__file__).with_name("icon.png")  # a named icon would be fetched from the internet
START = "-"  # Streamlit wants the page at "/" to have a path of its own, which no address leads to


def main() -> None:
    """Lay out what all pages share, and run the chosen page."""
    st.set_page_config(page_title=session.text().app_name, page_icon=str(ICON), layout="wide")
    _language_switch()
    text = session.text()
    page_parts.shell(text)
    pages = _pages(text)
    page = st.navigation([*pages, *_elsewhere(pages)])
    st.sidebar.caption(f"**{text.app_name}**  \n{text.tagline}")
    page.run()
    st.caption(text.disclaimer)


def _pages(text: Messages) -> list[st.Page]:
    return [
        st.Page(
            predict_page.render,
            title=text.predict,
            icon=":material/stethoscope:",
            url_path=START,
            default=True,
        ),
        st.Page(
            batch_page.render, title=text.batch, icon=":material/table_rows:", url_path="batch"
        ),
        st.Page(
            model_page.render, title=text.model, icon=":material/monitoring:", url_path="model"
        ),
        st.Page(data_page.render, title=text.data, icon=":material/database:", url_path="data"),
    ]


def _elsewhere(pages: Sequence[st.Page]) -> list[st.Page]:
    """Return a hidden page for an address that no page has: it leads to the first one.

    Without it `/predict`, or a typing error, opens a dialog of Streamlit's, in English.
    """
    path = unquote(urlsplit(st.context.url or "").path).rpartition("/")[2].strip()
    if path in {START, *(page.url_path for page in pages)}:
        return []
    first = partial(st.switch_page, pages[0], query_params=st.query_params.to_dict())
    return [st.Page(first, title=pages[0].title, url_path=path, visibility="hidden")]


def _language_switch() -> None:
    st.session_state.setdefault("language", session.language())
    st.sidebar.selectbox(
        f"{session.text().language}",
        list(LANGUAGES),
        format_func=lambda code: LANGUAGES[code][0],
        key="language",
    )
    session.keep_language()


main()
