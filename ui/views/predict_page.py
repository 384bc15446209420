"""Predict: a form made from the served model's contract, and its answer with its reasons."""

from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import cast

import streamlit as st

from readmit.client.answer_types import Certainty, ContractMapping, Prediction, Value
from readmit.client.api_client import ApiDown, Problem
from ui import (
    charts,
    examples,
    fields,
    form,
    page_parts,
    problem_messages,
    session,
    strongest_fields,
    version_comparison,
    wording,
)
from ui.explanation import contributions
from ui.form import Field, FormModel
from ui.language import Language, in_words
from ui.what_if import alternatives

ANSWER = "answer"
FAILURE = "failure"
SENT = "sent"
PATIENT = "patient_nbr"
CONFLICT = 409


def render() -> None:
    """Draw the page."""
    language = session.language()
    page_parts.header(language.text("predict"), language.text("predict_intro"))
    with page_parts.guarded(), st.spinner(language.text("working")):
        model = session.form_model()
        form_fields = session.form_fields(model)
    page_parts.banners(model.data_source)
    show_examples(model, form_fields)
    entry, result = st.columns([3, 2], gap="large")
    with entry:
        show_form(model, form_fields)
    with result, st.container(key="result"):
        show_result(model, form_fields)


def show_examples(model: FormModel, form_fields: Sequence[Field]) -> None:
    """Draw a button for each example patient; it fills the form."""
    language = session.language()
    st.markdown(f"**{language.text('examples')}**", help=language.text("example_help"))
    rows: dict[str, examples.Row] = {}
    failure: problem_messages.Failure | None = None
    try:
        rows = _example_rows(model, form_fields)
    except (Problem, ApiDown, examples.IncompleteAnswer) as error:
        failure = error
    with st.container(horizontal=True):
        _example_button(language.text("example_default"), "default", model, form_fields, {})
        for band, row in rows.items():
            _example_button(wording.band(band, language), band, model, form_fields, row)
    if failure:
        detail = problem_messages.reason(failure, language)
        st.caption(language.text("examples_none", detail=detail))


def _example_button(
    label: str,
    key: str,
    model: FormModel,
    form_fields: Sequence[Field],
    row: Mapping[str, Value],
) -> None:
    fill_form = partial(_fill_form, form_fields, model.version, row)
    st.button(label, key=f"example:{key}", on_click=fill_form)


def _example_rows(model: FormModel, form_fields: Sequence[Field]) -> dict[str, examples.Row]:
    """Return the example patients, scored once per session and model."""
    key = f"examples:{model.version}"
    if key not in st.session_state:
        scorer = partial(session.client().predict_batch, trial=True)
        st.session_state[key] = examples.by_band(form_fields, scorer)
    return cast(dict[str, examples.Row], st.session_state[key])


def _fill_form(form_fields: Sequence[Field], version: str, row: Mapping[str, Value]) -> None:
    """Fill the form with an example; the last answer does not belong to it."""
    fields.fill(form_fields, version, row)
    st.session_state[PATIENT] = ""  # an example has no earlier stays of somebody else
    for key in (ANSWER, FAILURE, SENT):
        st.session_state.pop(key, None)


def show_form(model: FormModel, form_fields: Sequence[Field]) -> None:
    """Draw the form; its button sends what was entered."""
    language = session.language()
    failure = st.session_state.get(FAILURE)
    errors: Mapping[str, str] = {}
    if isinstance(failure, Problem):
        errors = problem_messages.notice(failure, language).by_field
    sent = st.session_state.get(SENT, {})
    st.session_state.setdefault(PATIENT, str(sent.get(PATIENT, "")))
    with st.form("predict", border=False):
        patient = st.text_input(
            language.text("patient_number"),
            help=language.text("patient_number_help"),
            key=PATIENT,
            autocomplete="off",
            max_chars=20,
        )
        fields.mark(PATIENT, errors)
        entered = fields.render(form_fields, model.version, errors, sent)
        button = language.text("button_predict")
        if st.form_submit_button(button, type="primary", width="stretch", key="submit"):
            _submit(model, entered, patient.strip())


def _submit(model: FormModel, entered: Mapping[str, Value], patient: str) -> None:
    """Send what was entered, then draw the page again with the answer."""
    row: dict[str, Value] = {**entered, "contract_hash": model.contract_hash}
    if patient.isascii() and patient.isdigit():
        row[PATIENT] = int(patient)
    elif patient:
        row[PATIENT] = patient  # the API says what is wrong with it
    with st.spinner(session.language().text("working")):
        _send(row)
    st.rerun()


def _send(row: Mapping[str, Value]) -> None:
    """Ask the API and keep the answer, or why there is none."""
    for key in (ANSWER, FAILURE):
        st.session_state.pop(key, None)
    st.session_state[SENT] = row
    try:
        st.session_state[ANSWER] = session.client().predict(
            row, calls_per_100=session.calls_per_100()
        )
    except (Problem, ApiDown) as failure:
        st.session_state[FAILURE] = failure


def show_result(model: FormModel, form_fields: Sequence[Field]) -> None:
    """Draw the answer, or why there is none."""
    if FAILURE in st.session_state:
        show_failure(st.session_state[FAILURE], model)
    elif ANSWER in st.session_state:
        show_answer(model, st.session_state[ANSWER], form_fields)
    else:
        st.info(session.language().text("result_empty"), icon=":material/touch_app:")


def show_failure(failure: Problem | ApiDown, model: FormModel) -> None:
    """Say why there is no answer, and what to do about it."""
    language = session.language()
    if isinstance(failure, ApiDown):
        page_parts.api_down(retry=lambda: _send(st.session_state[SENT]))
        return
    errors = problem_messages.notice(failure, language).by_field
    if failure.status == CONFLICT:
        st.warning(language.text("conflict"), icon=":material/sync:")
        _reload_button(language)
    elif errors:
        labels = form.labels(model.features, language)
        labels[PATIENT] = language.text("patient_number")
        lines = [f"**{language.text('invalid')}**", ""]
        for name, error in errors.items():
            lines.append(f"- {labels.get(name, name)}: {error}")
        st.error("\n".join(lines), icon=":material/edit:")
    else:
        page_parts.failed(failure)


def _reload_button(language: Language) -> None:
    st.button(language.text("reload_form"), on_click=session.reload_form, key="reload")


def show_answer(model: FormModel, answer: Prediction, form_fields: Sequence[Field]) -> None:
    """Draw the score, and what explains it."""
    language = session.language()
    served = answer["model"]
    page_parts.score_card(answer)
    if model.average_risk:
        comparison = wording.against_average(answer["probability"], model.average_risk, language)
        st.markdown(comparison)
    show_certainty(model, answer.get("certainty"))
    if answer["history"] == "unavailable":
        st.warning(language.text("history_unavailable"), icon=":material/history:")
    version = served["version"]
    name = f"**{served['name']}**, {language.text('version')} **{version}**"
    st.markdown(f"{language.text('answered_by')} {name}")
    if version != model.version:
        st.info(language.text("newer_model", version=version, form_version=model.version))
        _reload_button(language)
    if "contract" in answer:
        show_mapping(model, answer["contract"])
    show_drivers(model, answer, form_fields)
    show_comparison()
    show_what_if(model, answer, form_fields)
    st.header(language.text("links"), anchor=False)
    # The runs of all versions are in one experiment.
    page_parts.model_links(version, served["run_id"], model.experiment_id)
    st.caption(f"{language.text('request')} {answer['request_id']}")


def show_certainty(model: FormModel, certainty: Certainty | None) -> None:
    """Say how sure the score is; a model that was registered without it says nothing."""
    if certainty is None:
        return
    language = session.language()
    st.markdown(wording.how_sure(certainty, language))
    if not certainty["is_unlike_training"]:
        return
    texts = [language.text("unlike_training")]
    labels = form.labels(model.features, language)
    if certainty["unusual_fields"]:
        names = ", ".join(labels.get(name, in_words(name)) for name in certainty["unusual_fields"])
        texts.append(language.text("unusual_fields", names=names))
    st.warning(" ".join(texts), icon=":material/person_search:")


def show_mapping(model: FormModel, mapping: ContractMapping) -> None:
    """Say which fields were filled or dropped when the form is older than the model."""
    language = session.language()
    labels = form.labels(model.features, language)
    changes = {"defaulted": mapping["defaulted"], "ignored": mapping["ignored"]}
    for key, names in changes.items():
        if names:
            shown = ", ".join(labels.get(name, in_words(name)) for name in names)
            st.info(language.text(key, names=shown), icon=":material/sync:")


def show_drivers(model: FormModel, answer: Prediction, form_fields: Sequence[Field]) -> None:
    """Draw how much each value moves the score; where none does, which ones would."""
    language = session.language()
    st.header(language.text("drivers"), anchor=False)
    try:
        explained = session.client().explain(st.session_state[SENT])
        known_fields = form.fields(
            model.features, session.seeds(model), language, roles=("input", "history")
        )
    except (Problem, ApiDown) as failure:
        page_parts.part_failed(failure)
        return
    strongest = contributions(explained, known_fields, language)
    if not strongest:
        st.caption(language.text("drivers_usual"))
        show_strongest_fields(answer, form_fields)
        return
    st.caption(language.text("drivers_intro"))
    names = []
    effects = []
    table = []
    for contribution in strongest:
        names.append(f"{contribution.label}: {contribution.value}")
        effects.append(contribution.effect)
        row = {
            language.text("feature"): contribution.label,
            language.text("value"): contribution.value,
            language.text("effect"): f"{contribution.effect:+.3f}",
        }
        table.append(row)
    page_parts.chart(charts.drivers(names, effects), "drivers")
    with st.expander(language.text("as_table")):
        st.table(table)


def show_strongest_fields(answer: Prediction, form_fields: Sequence[Field]) -> None:
    """Draw the fields that would move the score most."""
    language = session.language()
    sent = st.session_state[SENT]
    changes = strongest_fields.variations(form_fields, sent)
    rows = [{**sent, field.name: value} for field, value in changes]
    try:
        scored = session.client().predict_batch(rows, trial=True)
        scores = examples.probabilities(scored, len(rows))
    except (Problem, ApiDown, examples.IncompleteAnswer) as failure:
        page_parts.part_failed(failure)
        return
    changed = {}
    for change in strongest_fields.strongest(changes, scores, answer["probability"]):
        field = change.field
        former = field.shown(sent[field.name], language)
        name = f"{field.label}: {former} → {field.shown(change.value, language)}"
        points = f"{100 * (change.probability - answer['probability']):+.1f}"
        shown = wording.percent_apart(change.probability, answer["threshold"])
        changed[name] = f"{shown} ({points})"
    if changed:
        st.markdown(language.text("strongest_intro"))
        page_parts.facts(changed)


def show_comparison() -> None:
    """Draw the answer of the previous version beside that of the served one."""
    language = session.language()
    st.header(language.text("compare"), anchor=False)
    try:
        answers = session.client().compare(st.session_state[SENT])
    except (Problem, ApiDown) as failure:
        page_parts.part_failed(failure)
        return
    if answers[1]["model"] is None:
        st.caption(language.text("compare_none"))
        return
    with st.container(key="compare"):
        page_parts.facts(version_comparison.side_by_side(answers, language))
    st.caption(version_comparison.difference(answers, language))


def show_what_if(model: FormModel, answer: Prediction, form_fields: Sequence[Field]) -> None:
    """Offer to change one field and see the score move."""
    language = session.language()
    page_parts.section(language.text("what_if"), language.text("what_if_intro"))
    field = st.selectbox(
        language.text("what_if_field"),
        form_fields,
        format_func=attrgetter("label"),
        key=f"what_if:{model.version}",
        index=None,
        placeholder=language.text("choose"),
    )
    if field is not None:
        show_what_if_scores(field, answer)


def show_what_if_scores(field: Field, answer: Prediction) -> None:
    """Draw the score for each value of one field."""
    language = session.language()
    sent = st.session_state[SENT]
    values, current = alternatives(field, sent[field.name])
    rows = [{**sent, field.name: value} for value in values]
    try:
        with page_parts.guarded():
            scored = session.client().predict_batch(rows, trial=True)
        scores = examples.probabilities(scored, len(rows))
    except examples.IncompleteAnswer as failure:
        page_parts.failed(failure)
        return
    unchanged = scored["predictions"][current]
    if answer["history"] == "looked_up" and unchanged and unchanged["history"] != "looked_up":
        st.warning(language.text("what_if_history"), icon=":material/history:")
    captions = [field.caption(value) for value in values]
    figure = charts.scores(captions, scores, current, answer["threshold"])
    page_parts.chart(figure, "scores")
    table = []
    for caption, score in zip(captions, scores, strict=True):
        shown = wording.percent_apart(score, answer["threshold"])
        table.append({field.label: caption, language.text("probability"): shown})
    with st.expander(language.text("as_table")):
        st.table(table)
