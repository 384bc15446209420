"""Entry point of the web form: `streamlit run ui/streamlit_app.py`, from the repository's root.

The root must be on PYTHONPATH.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import streamlit as st

from ui import language as languages
from ui import page_parts, session
from ui.language import Language
from ui.views import batch_page, data_page, model_page, predict_page

ICON = Path(__file__).with_name("icon.png")  # a named icon would be fetched from the internet
START = "-"  # Streamlit wants the page at "/" to have a path of its own; no address leads to it


def main() -> None:
    """Lay out what all pages share, and run the chosen page."""
    title = session.language().text("app_name")
    st.set_page_config(page_title=title, page_icon=str(ICON), layout="wide")
    _language_switch()
    language = session.language()
    page_parts.shell(language)
    pages = _pages(language)
    page = st.navigation([*pages, *_unknown_address(pages)])
    st.sidebar.caption(f"**{language.text('app_name')}**  \n{language.text('tagline')}")
    page.run()
    with st.container(key="disclaimer"):
        st.caption(language.text("disclaimer"))


def _pages(language: Language) -> list[st.Page]:
    return [
        st.Page(
            predict_page.render,
            title=language.text("predict"),
            icon=":material/stethoscope:",
            url_path=START,
            default=True,
        ),
        st.Page(
            batch_page.render,
            title=language.text("batch"),
            icon=":material/table_rows:",
            url_path="batch",
        ),
        st.Page(
            model_page.render,
            title=language.text("model"),
            icon=":material/monitoring:",
            url_path="model",
        ),
        st.Page(
            data_page.render,
            title=language.text("data"),
            icon=":material/database:",
            url_path="data",
        ),
    ]


def _unknown_address(pages: Sequence[st.Page]) -> list[st.Page]:
    """Return a hidden page for an address that no page has: it leads to the first one.

    Without it `/predict`, or a typing error, opens a dialog of Streamlit's, in English.
    """
    path = unquote(urlsplit(st.context.url or "").path).rpartition("/")[2].strip()
    if path in {START, *(page.url_path for page in pages)}:
        return []
    first = partial(st.switch_page, pages[0], query_params=st.query_params.to_dict())
    return [st.Page(first, title=pages[0].title, url_path=path, visibility="hidden")]


def _language_switch() -> None:
    language = session.language()
    st.session_state.setdefault(session.LANGUAGE, language.code)
    st.sidebar.selectbox(
        language.text("language"),
        languages.CODES,
        format_func=lambda code: languages.load(code).name,
        key=session.LANGUAGE,
    )
    session.keep_language()


main()
