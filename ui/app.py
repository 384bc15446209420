"""Entry point of the web form: `streamlit run ui/app.py` with the repository's root on PYTHONPATH."""

from pathlib import Path

import streamlit as st

from ui import parts, session
from ui.messages import LANGUAGES
from ui.views import batch, data, model, predict

ICON = Path(__file__).with_name("icon.png")  # a named icon would be fetched from the internet


def main() -> None:
    """Lay out what all pages share, and run the chosen page."""
    st.set_page_config(page_title=session.text().app_name, page_icon=str(ICON), layout="wide")
    st.html(parts.STYLE)
    _language_switch()
    text = session.text()
    page = st.navigation(
        [
            st.Page(
                predict.render, title=text.predict, icon=":material/stethoscope:", url_path="predict", default=True
            ),
            st.Page(batch.render, title=text.batch, icon=":material/table_rows:", url_path="batch"),
            st.Page(model.render, title=text.model, icon=":material/monitoring:", url_path="model"),
            st.Page(data.render, title=text.data, icon=":material/database:", url_path="data"),
        ]
    )
    st.sidebar.caption(f"**{text.app_name}**  \n{text.tagline}")
    page.run()
    st.caption(text.disclaimer)


def _language_switch() -> None:
    st.session_state.setdefault("language", session.language())
    st.sidebar.selectbox(
        f"{session.text().language}",
        list(LANGUAGES),
        format_func=lambda code: LANGUAGES[code][0],
        key="language",
    )


main()
