"""Model: what serves now, how good it is, and how it got here."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from ui import charts, model_card, page_parts, page_tables, session, vocabulary


def render() -> None:
    """Draw the page."""
    text = session.text()
    page_parts.header(text.model, text.model_intro)
    with page_parts.guarded(), st.spinner(text.working):
        model = session.client().model()
    page_parts.banners(model)
    page_parts.facts(page_tables.identity(model, text))
    page_parts.model_links(model)
    _report(model)
    _realised()
    _history()
    _card(str(model.get("model_card") or ""))


def _report(model: Mapping[str, Any]) -> None:
    """Draw how good the model is; the parts that it was not registered with say so."""
    text = session.text()
    _metrics(model.get("metrics") or {})
    left, right = st.columns(2, gap="large")
    with left:
        _curve(
            text.calibration, text.calibration_intro, _calibration(model.get("calibration") or [])
        )
    with right:
        _curve(
            text.learning_curve, text.learning_intro, _learning(model.get("learning_curve") or [])
        )
    _curve(text.decision_curve, text.decision_intro, _decision(model))
    _slices(model.get("slices") or [], model.get("metrics") or {})


def _metrics(metrics: Mapping[str, Any]) -> None:
    text = session.text()
    st.subheader(text.metrics, anchor=False)
    st.caption(text.metrics_intro)
    rows = page_tables.metric_rows(metrics)
    if not rows:
        st.caption(text.empty)
        return
    st.table([row.as_table(text) for row in rows], hide_index=True)
    with st.expander(text.meaning):
        st.markdown("\n".join(f"- **{row.label(text)}**: {row.meaning(text)}" for row in rows))


def _curve(title: str, intro: str, figure: go.Figure | None) -> None:
    st.subheader(title, anchor=False)
    st.caption(intro)
    text = session.text()
    if figure is None:
        st.caption(text.not_available)
        return
    st.plotly_chart(figure, config=charts.CONFIG, key=f"chart:{title}")
    with st.expander(text.as_table):
        st.dataframe(charts.rows(figure), hide_index=True)


def _calibration(points: Sequence[Mapping[str, Any]]) -> go.Figure | None:
    text = session.text()
    return charts.calibration(points, text.predicted, text.observed) if points else None


def _learning(points: Sequence[Mapping[str, Any]]) -> go.Figure | None:
    text = session.text()
    names = (text.training_rows, vocabulary.metric("auroc", text.code))
    return charts.line(points, "n_rows", "auroc", names) if points else None


def _decision(model: Mapping[str, Any]) -> go.Figure | None:
    text, points = session.text(), model.get("decision_curve") or []
    names = (text.threshold, text.net_benefit, text.by_model, text.for_everybody)
    return charts.decision(points, float(model["threshold"]), names) if points else None


def _slices(slices: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> None:
    text = session.text()
    st.subheader(text.slices, anchor=False)
    st.caption(text.slices_intro)
    if not slices:
        st.caption(text.not_available)
        return
    overall = [
        metric.figure for metric in page_tables.metric_rows(metrics) if metric.name == "auroc"
    ]
    st.plotly_chart(_by_group(slices, overall), config=charts.CONFIG, key="slices")
    with st.expander(text.as_table):
        st.dataframe(page_tables.slices(slices, text), hide_index=True)


def _by_group(slices: Sequence[Mapping[str, Any]], overall: Sequence[float]) -> go.Figure:
    code = session.text().code
    names = [
        ": ".join(vocabulary.value(each[key], code) for key in ("slice", "value"))
        for each in slices
    ]
    figures, low, high = ([float(each[key]) for each in slices] for key in ("auroc", "low", "high"))
    return charts.intervals(names, figures, low, high, overall[0] if overall else None)


def _realised() -> None:
    text = session.text()
    st.subheader(text.realised, anchor=False)
    st.caption(text.realised_intro)
    reports = page_parts.rows(session.client().monitoring)
    if reports is not None:
        page_parts.table(page_tables.realised(reports, text), text.empty)


def _history() -> None:
    text = session.text()
    st.subheader(text.promotions, anchor=False)
    st.caption(text.promotions_intro)
    decisions = page_parts.rows(session.client().history)
    if decisions is not None:
        page_parts.table(page_tables.promotions(decisions, text), text.empty)


def _card(written: str) -> None:
    text = session.text()
    st.subheader(text.model_card, anchor=False)
    if written:
        with st.expander(text.model_card):
            st.markdown(model_card.shown(written, text))
    else:
        st.caption(text.not_available)
