"""A widget for each field of the form.

Keys carry the model's version: another model has other defaults.
"""

from collections.abc import Mapping, Sequence

import streamlit as st

from readmit.client.answer_types import Value
from ui.form import Field, groups

LONG_GROUP = 10  # groups with more fields start folded, so that the form fits a screen
LONG_CAPTION = 22  # characters that a narrow field shows


def key(version: str, name: str) -> str:
    """Return the key of a field's widget."""
    return f"field:{version}:{name}"


def render(
    fields: Sequence[Field], version: str, errors: Mapping[str, str], sent: Mapping[str, Value]
) -> dict[str, Value]:
    """Draw all groups and return the entered values.

    Streamlit drops the state of widgets while another page is shown. Afterwards the fields show
    again what was `sent` last.
    """
    for field in fields:
        st.session_state.setdefault(key(version, field.name), sent.get(field.name, field.default))
    entered: dict[str, Value] = {}
    for name, members in groups(fields).items():
        has_error = any(field.name in errors for field in members)
        with st.expander(name, expanded=len(members) <= LONG_GROUP or has_error):
            entered |= _grid(members, version, errors)
    return entered


def _grid(members: Sequence[Field], version: str, errors: Mapping[str, str]) -> dict[str, Value]:
    """Draw fields side by side, as many as fit (`style.css`).

    A field whose values have long captions gets a line of its own.
    """
    entered: dict[str, Value] = {}
    with st.container(key=f"grid:{members[0].name}"):
        for column, field in zip(st.columns(len(members)), members, strict=True):
            width = "wide" if has_long_captions(field) else "narrow"
            with column, st.container(key=f"{width}:{field.name}"):
                entered[field.name] = widget(field, key(version, field.name))
                mark(field.name, errors)
    return entered


def has_long_captions(field: Field) -> bool:
    """Return whether a narrow field would cut off what its values are called."""
    return any(len(caption) > LONG_CAPTION for caption in field.captions)


def mark(name: str, errors: Mapping[str, str]) -> None:
    """Show what is wrong with a field, below it."""
    if name in errors:
        st.caption(f":red[⚠ {errors[name]}]")


def widget(field: Field, widget_key: str) -> Value:
    """Draw the widget of one field and return its value."""
    st.session_state.setdefault(widget_key, field.default)
    label = field.label
    if field.unit:
        label = f"{label} ({field.unit})"
    help_text = field.help or None
    if field.options:
        return st.selectbox(
            label, field.options, format_func=field.caption, help=help_text, key=widget_key
        )
    if field.kind == "flag":
        return st.checkbox(label, help=help_text, key=widget_key)
    if field.kind == "number":
        return _number(field, label, widget_key)
    return st.text_input(label, help=help_text, key=widget_key)


def _number(field: Field, label: str, widget_key: str) -> Value:
    number_type = int if field.is_whole else float
    entered = st.session_state[widget_key]
    if not isinstance(entered, number_type):  # to set it would wipe an entry that was not sent yet
        st.session_state[widget_key] = number_type(entered)
    return st.number_input(
        label,
        min_value=None if field.low is None else number_type(field.low),
        max_value=None if field.high is None else number_type(field.high),
        step=number_type(1),
        help=field.help or None,
        key=widget_key,
    )


def fill(fields: Sequence[Field], version: str, row: Mapping[str, Value]) -> None:
    """Put the values of a row into the widgets; call it before they are drawn (in a callback)."""
    for field in fields:
        st.session_state[key(version, field.name)] = row.get(field.name, field.default)
