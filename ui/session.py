"""What one browser session holds: its language, its client, and the model that its form is for."""

from collections.abc import Sequence
from typing import cast

import streamlit as st

from readmit.client.answer_types import SeedRow
from readmit.client.api_client import Client
from readmit.telemetry.json_logs import log_as_json
from ui import form
from ui import language as languages
from ui import links as addresses
from ui.form_settings import FormSettings

FORM_MODEL = "model"
LANGUAGE = "language"
CALLS = "calls_per_100"


@st.cache_resource(show_spinner=False)
def settings() -> FormSettings:
    """Return the settings, read once per process."""
    return FormSettings()


@st.cache_resource(show_spinner=False)
def _client(url: str) -> Client:
    log_as_json("readmit")
    key = settings().api_key
    return Client(url, api_key=key.get_secret_value() if key else None)


def client() -> Client:
    """Return the client of the API; all sessions of the process share its connections."""
    return _client(settings().api_url)


def links() -> addresses.Links:
    """Return the addresses of the other pages."""
    return addresses.links(settings(), st.context.url)


def language() -> languages.Language:
    """Return the language: of the switch, else the address (`?lang=es`), else the browser."""
    chosen = st.session_state.get(LANGUAGE) or st.query_params.get("lang", _browser_language())
    for code in languages.CODES:
        if code == chosen:
            return languages.load(code)
    return languages.load("en")


def keep_language() -> None:
    """Put the language into the address unless it is the browser's own: it survives a reload."""
    code = language().code
    if st.query_params.get("lang", _browser_language()) != code:
        st.query_params["lang"] = code


def _browser_language() -> str:
    return (st.context.locale or "en")[:2].lower()


def calls_per_100() -> int | None:
    """Return how many of 100 patients can be called; None while nobody has chosen a number."""
    calls: int | None = st.session_state.get(CALLS)
    return calls


def form_model() -> form.FormModel:
    """Return the model that the form is made for.

    It stays the same until the form is reloaded: a promotion must not discard what somebody enters.
    """
    if FORM_MODEL not in st.session_state:
        st.session_state[FORM_MODEL] = form.form_model(client().model())
    return cast(form.FormModel, st.session_state[FORM_MODEL])


def form_fields(model: form.FormModel) -> tuple[form.Field, ...]:
    """Return the fields of a model's form in the chosen language."""
    return form.fields(model.features, seeds(model), language())


def reload_form() -> None:
    """Drop the form's model, answers and entries: the next run asks the API again."""
    for key in list(st.session_state):
        if key not in (LANGUAGE, CALLS):
            del st.session_state[key]


@st.cache_data(ttl=3600, show_spinner=False, max_entries=64)
def _seed(api_url: str, contract_hash: str, name: str) -> list[SeedRow]:  # noqa: ARG001
    """Return the rows of a code table. The hash belongs to the cache's key: contracts differ."""
    return _client(api_url).seed(name)


def seeds(model: form.FormModel) -> form.Seeds:
    """Return a function that gives the rows of a code table of the model's contract."""

    def rows(name: str) -> Sequence[SeedRow]:
        return _seed(settings().api_url, model.contract_hash, name)

    return rows
