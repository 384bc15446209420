"""Predict: a form made from the served model's contract, its answer, what drives it, and what if."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st

from readmit.client.api_client import ApiDown, Problem
from ui import (
    charts,
    examples,
    fields,
    form,
    page_parts,
    problem_messages,
    session,
    version_comparison,
    vocabulary,
    wording,
)
from ui.explanation import contributions
from ui.form import Field, Value
from ui.what_if import alternatives

ANSWER, NOTICE, SENT = "answer", "notice", "sent"


def render() -> None:
    """Draw the page."""
    text = session.text()
    page_parts.header(text.predict, text.predict_intro)
    with page_parts.guarded(), st.spinner(text.working):
        model = session.form_model()
        asked = form.fields(model["contract"], session.seeds(model["contract"]), text)
    page_parts.banners(model)
    _examples(model, asked)
    entry, result = st.columns([3, 2], gap="large")
    with entry:
        _form(model, asked)
    with result, st.container(key="result"):
        _result(model, asked)


def _examples(model: Mapping[str, Any], asked: Sequence[Field]) -> None:
    text, version = session.text(), str(model["version"])
    try:
        rows, detail = _example_rows(model, asked), ""
    except (Problem, ApiDown, ValueError) as error:
        rows, detail = {}, problem_messages.said(error, text)
    names = {"low": text.example_low, "medium": text.example_medium, "high": text.example_high}
    st.markdown(f"**{text.examples}**", help=text.example_help)
    with st.container(horizontal=True):
        st.button(
            text.example_default, key="example:default", on_click=_use, args=(asked, version, {})
        )
        for band, row in rows.items():
            st.button(names[band], key=f"example:{band}", on_click=_use, args=(asked, version, row))
    if detail:
        st.caption(text.examples_none.format(detail=detail))


def _example_rows(model: Mapping[str, Any], asked: Sequence[Field]) -> dict[str, examples.Row]:
    """Return the example patients; made once per session and model."""
    key = f"examples:{model['version']}"
    if key not in st.session_state:
        st.session_state[key] = examples.from_model(
            model, asked, partial(session.client().predict_batch, trial=True)
        )
    found: dict[str, examples.Row] = st.session_state[key]
    return found


def _use(asked: Sequence[Field], version: str, row: Mapping[str, Value]) -> None:
    """Fill the form with an example; the old answer no longer belongs to what is shown."""
    fields.fill(asked, version, row)
    for key in (ANSWER, NOTICE, SENT):
        st.session_state.pop(key, None)


def _form(model: Mapping[str, Any], asked: Sequence[Field]) -> None:
    text = session.text()
    refusal = st.session_state.get(NOTICE)
    errors = problem_messages.notice(refusal, text).by_field if isinstance(refusal, Problem) else {}
    with st.form("predict", border=False):
        patient = st.text_input(
            text.patient_number,
            help=text.patient_number_help,
            key="patient_nbr",
            autocomplete="off",
            max_chars=20,
        )
        fields.mark("patient_nbr", errors)
        entered = fields.render(
            asked, str(model["version"]), errors, st.session_state.get(SENT, {})
        )
        if st.form_submit_button(
            text.button_predict, type="primary", width="stretch", key="submit"
        ):
            _ask(model, entered, patient.strip())


def _ask(model: Mapping[str, Any], entered: Mapping[str, Value], patient: str) -> None:
    """Send what was entered, then draw the page anew with what came of it."""
    row: dict[str, Any] = {**entered, "contract_hash": model["contract"].get("hash")}
    if patient:
        row["patient_nbr"] = int(patient) if patient.isascii() and patient.isdigit() else patient
    with st.spinner(session.text().working):
        _send(row)
    st.rerun()


def _send(row: Mapping[str, Any]) -> None:
    """Ask the API and keep what came: the answer, or why there is none."""
    for key in (ANSWER, NOTICE):
        st.session_state.pop(key, None)
    st.session_state[SENT] = row
    try:
        st.session_state[ANSWER] = session.client().predict(row)
    except (Problem, ApiDown) as refusal:
        st.session_state[NOTICE] = refusal


def _result(model: Mapping[str, Any], asked: Sequence[Field]) -> None:
    answer = st.session_state.get(ANSWER)
    if NOTICE in st.session_state:
        _refusal(st.session_state[NOTICE], model)
    elif answer is None:
        st.info(session.text().result_empty, icon=":material/arrow_back:")
    else:
        _answer(model, answer, asked)


def _refusal(refusal: Problem | ApiDown, model: Mapping[str, Any]) -> None:
    text = session.text()
    if isinstance(refusal, ApiDown):
        page_parts.api_down(lambda: _send(st.session_state[SENT]))
        return
    notice = problem_messages.notice(refusal, text)
    if refusal.status == problem_messages.CONFLICT:
        st.warning(text.conflict, icon=":material/sync:")
        st.button(text.reload_form, on_click=session.reload_form, key="reload")
    elif notice.by_field:
        labels = form.labels(model["contract"], text.code) | {"patient_nbr": text.patient_number}
        wrong = [f"- {labels.get(name, name)}: {said}" for name, said in notice.by_field.items()]
        st.error("\n".join([f"**{text.invalid}**", "", *wrong]), icon=":material/edit:")
    else:
        st.error(text.failed.format(detail=notice.summary), icon=":material/error:")


def _answer(model: Mapping[str, Any], answer: Mapping[str, Any], asked: Sequence[Field]) -> None:
    text, served = session.text(), answer["model"]
    page_parts.score_card(answer)
    st.markdown(f"{text.answered_by} **{served['name']}**, {text.version} **{served['version']}**")
    if str(served["version"]) != str(model["version"]):
        st.info(text.newer_model.format(version=served["version"], form_version=model["version"]))
        st.button(text.reload_form, on_click=session.reload_form, key="reload")
    _mapped(model, answer.get("contract") or {})
    _drivers(model)
    _compare()
    _what_if(model, answer, asked)
    st.subheader(text.links, anchor=False)
    page_parts.model_links(
        {**served, "experiment_id": model.get("experiment_id")}
    )  # all versions' runs are in one
    st.caption(f"{text.request} {answer.get('request_id', '-')}")


def _mapped(model: Mapping[str, Any], how: Mapping[str, Any]) -> None:
    """Say what became of a form that was made for another contract than the one that answered."""
    text = session.text()
    labels = form.labels(model["contract"], text.code)
    for sentence, names in (
        (text.defaulted, how.get("defaulted")),
        (text.ignored, how.get("ignored")),
    ):
        if names:
            shown = ", ".join(labels.get(name, vocabulary.in_words(name)) for name in names)
            st.info(sentence.format(names=shown), icon=":material/sync:")


def _drivers(model: Mapping[str, Any]) -> None:
    text = session.text()
    st.subheader(text.drivers, anchor=False)
    contract = model["contract"]
    try:
        explained = session.client().explain(st.session_state[SENT])
        known = form.fields(contract, session.seeds(contract), text, roles=("input", "history"))
    except (Problem, ApiDown) as error:
        st.caption(text.failed.format(detail=problem_messages.said(error, text)))
        return
    found = contributions(explained, known, text.code)
    if not found:
        st.caption(text.drivers_usual)
        return
    st.caption(text.drivers_intro)
    st.plotly_chart(
        charts.drivers(
            [f"{each.label}: {each.value}" for each in found], [each.effect for each in found]
        ),
        config=charts.CONFIG,
        key="drivers",
    )
    with st.expander(text.as_table):
        st.table(
            [
                {
                    text.feature: each.label,
                    text.value: each.value,
                    text.effect: f"{each.effect:+.3f}",
                }
                for each in found
            ]
        )


def _compare() -> None:
    text = session.text()
    st.subheader(text.compare, anchor=False)
    try:
        answers = session.client().compare(st.session_state[SENT])
    except (Problem, ApiDown) as error:
        st.caption(text.failed.format(detail=problem_messages.said(error, text)))
        return
    if answers[1].get("model") is None:
        st.caption(text.compare_none)
        return
    page_parts.facts(version_comparison.side_by_side(answers, text))
    st.caption(version_comparison.in_words(answers, text))


def _what_if(model: Mapping[str, Any], answer: Mapping[str, Any], asked: Sequence[Field]) -> None:
    text, sent = session.text(), st.session_state[SENT]
    st.subheader(text.what_if, anchor=False)
    st.caption(text.what_if_intro)
    key = f"what_if:{model['version']}"
    field = st.selectbox(
        text.what_if_field,
        asked,
        format_func=lambda each: each.label,
        key=key,
        index=None,
        placeholder=text.choose,
    )
    if field is None:
        return
    values, current = alternatives(field, sent[field.name])
    rows = [{**sent, field.name: value} for value in values]
    try:
        with page_parts.guarded():
            tried = session.client().predict_batch(rows, trial=True)
        scored = examples.probabilities(tried, len(rows))
    except ValueError as error:
        st.warning(
            text.failed.format(detail=problem_messages.said(error, text)), icon=":material/error:"
        )
        return
    unchanged = tried["predictions"][current]
    if answer["history"] == "looked_up" and unchanged and unchanged["history"] != "looked_up":
        st.warning(text.what_if_history, icon=":material/history:")
    captions = [field.caption(value) for value in values]
    st.plotly_chart(
        charts.scores(captions, scored, current, answer["threshold"]),
        config=charts.CONFIG,
        key="scores",
    )
    with st.expander(text.as_table):
        st.table(
            [
                {field.label: caption, text.probability: wording.percent(p)}
                for caption, p in zip(captions, scored, strict=True)
            ]
        )
