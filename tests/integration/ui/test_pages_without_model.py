"""Every page in the states that need no served model: the API is away, and the language is
switched.

The address is a port that nothing listens on, as when the API's process is gone: no double stands
in for it.
"""

import socket
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from readmit.client.api_client import Client, Problem
from ui import language as languages

ENGLISH = languages.load("en")
SPANISH = languages.load("es")

ROOT = Path(__file__).resolve().parents[3]
PAGES = ("predict", "batch", "model", "data")


@pytest.fixture
def api_away(monkeypatch, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("READMIT_ENV_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("READMIT_API_URL", f"http://127.0.0.1:{port}")
    st.cache_resource.clear()
    st.cache_data.clear()
    yield port
    st.cache_resource.clear()
    st.cache_data.clear()


def page(name: str) -> AppTest:
    return AppTest.from_string(
        f"from ui.views import {name}_page\n{name}_page.render()", default_timeout=20
    )


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("language", [ENGLISH, SPANISH])
def test_a_page_without_the_api_says_so_and_offers_to_try_again(api_away, name, language):
    app = page(name)
    app.query_params["lang"] = language.code
    app.run()
    assert not app.exception
    assert language.text("api_down") in app.error[0].value
    assert str(api_away) in app.error[0].value
    assert app.button(key="retry").label == language.text("try_again")
    assert app.title[0].value == language.text(name)


def test_trying_again_while_the_api_is_still_away_says_the_same(api_away):
    app = page("predict").run()
    app.button(key="retry").click().run()
    assert not app.exception
    assert ENGLISH.text("api_down") in app.error[0].value


def test_the_language_switch_changes_the_page(api_away):
    app = AppTest.from_file(ROOT / "ui/streamlit_app.py", default_timeout=20).run()
    assert app.title[0].value == ENGLISH.text("predict")
    assert "lang" not in app.query_params
    app.selectbox(key="language").select("es").run()
    assert app.title[0].value == SPANISH.text("predict")
    assert app.query_params["lang"] == "es"  # outlives a reload
    assert SPANISH.text("api_down") in app.error[0].value


def test_a_spanish_browser_gets_spanish(api_away):
    app = AppTest.from_file(ROOT / "ui/streamlit_app.py", default_timeout=20)
    app.context["locale"] = "es-MX"
    app.run()
    assert app.title[0].value == SPANISH.text("predict")
    assert "lang" not in app.query_params


def test_an_address_without_a_page_leads_to_the_form(api_away):
    app = AppTest.from_file(ROOT / "ui/streamlit_app.py", default_timeout=20)
    app.context["url"] = "http://127.0.0.1:8501/no-such-page"
    app.run()
    assert not app.exception
    assert app.title[0].value == ENGLISH.text("predict")


@pytest.mark.parametrize("name", ["predict", "batch", "model"])
def test_before_the_first_model_the_page_says_what_it_waits_for(api_away, monkeypatch, name):
    def no_model(_):
        raise Problem(503, "Unavailable", code="no_model")

    monkeypatch.setattr(Client, "model", no_model)
    app = page(name).run()
    assert not app.exception
    assert ENGLISH.text("no_model") in app.info[0].value
    assert app.button(key="retry").label == ENGLISH.text("try_again")
