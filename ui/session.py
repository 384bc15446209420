"""What one browser session holds: its language, its client, and the model that its form was made for."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import streamlit as st

from readmit.client.answer_types import SeedRow
from readmit.client.api_client import Client
from readmit.settings import Settings
from readmit.telemetry.json_logs import log_as_json
from ui import links as addresses
from ui.form import Seeds
from ui.messages import LANGUAGES, Language, Messages

MODEL = "model"


@st.cache_resource(show_spinner=False)
def settings() -> Settings:
    """Return the settings, read once per process."""
    return Settings()


@st.cache_resource(show_spinner=False)
def _client(url: str) -> Client:
    log_as_json("readmit")
    key = settings().api_key
    return Client(url, api_key=key.get_secret_value() if key else None)


def client() -> Client:
    """Return the client of the API; its connections are shared by all sessions of the process."""
    return _client(settings().api_url)


def links() -> addresses.Links:
    """Return the addresses of the other pages."""
    return addresses.links(settings(), st.context.url)


def language() -> Language:
    """Return the chosen language: by the switch, else by the address (`?lang=es`), else by the browser."""
    chosen = st.session_state.get("language") or st.query_params.get("lang", _of_browser())
    return cast(Language, chosen) if chosen in LANGUAGES else "en"


def keep_language() -> None:
    """Put the language into the address unless it is the browser's own, so that it outlives a reload."""
    if st.query_params.get("lang", _of_browser()) != language():
        st.query_params["lang"] = language()


def _of_browser() -> str:
    return (st.context.locale or "en")[:2].lower()


def text() -> Messages:
    """Return the texts of the chosen language."""
    return LANGUAGES[language()][1]


def form_model() -> Mapping[str, Any]:
    """Return the model that the form is made for.

    It stays the same until the form is reloaded, so that a promotion does not throw away what somebody is entering.
    """
    if MODEL not in st.session_state:
        st.session_state[MODEL] = client().model()
    return cast(Mapping[str, Any], st.session_state[MODEL])


def reload_form() -> None:
    """Forget the model of the form, its answers and its entries: the next run asks the API again."""
    kept = {"language"}
    for key in [key for key in st.session_state if key not in kept]:
        del st.session_state[key]


@st.cache_data(ttl=3600, show_spinner=False, max_entries=64)
def _seed(api_url: str, contract_hash: str, name: str) -> list[SeedRow]:  # noqa: ARG001 (of the cache's key)
    """Return the rows of a code table of one contract (by its hash: another contract has other codes)."""
    return _client(api_url).seed(name)


def seeds(contract: Mapping[str, Any]) -> Seeds:
    """Return a function that gives the rows of a code table of this contract."""

    def rows(name: str) -> Sequence[Mapping[str, Any]]:
        return _seed(settings().api_url, str(contract.get("hash")), name)

    return rows
