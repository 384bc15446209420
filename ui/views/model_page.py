"""Model: what serves now, how good it is, and how it got here."""

import re
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import streamlit as st

from readmit.client.access_keys import USUAL_CALLS
from readmit.client.answer_types import (
    CalibrationBin,
    CapacityPoint,
    LearningPoint,
    MetricInterval,
    ModelInfo,
    SliceQuality,
)
from ui import charts, page_parts, page_tables, session
from ui.charts import AxisTitles

SLIDER = "model:calls_per_100"


def render() -> None:
    """Draw the page."""
    language = session.language()
    page_parts.header(language.text("model"), language.text("model_intro"))
    with page_parts.guarded(), st.spinner(language.text("working")):
        model = session.client().model()
    page_parts.banners(model.get("data_source"))
    page_parts.facts(page_tables.identity(model, language))
    page_parts.model_links(model["version"], model["run_id"], model["experiment_id"])
    show_report(model)
    show_realised(model)
    show_decisions()
    show_card(model["model_card"])


def show_report(model: ModelInfo) -> None:
    """Draw how good the model is; the parts that it was registered without say so."""
    show_metrics(model.get("metrics", {}))
    left, right = st.columns(2, gap="large")
    with left:
        show_calibration(model.get("calibration", []))
    with right:
        show_learning_curve(model.get("learning_curve", []))
    show_decision_curve(model)
    show_capacity(model.get("capacity", []))
    show_slices(model.get("slices", []), model.get("metrics", {}))


def show_metrics(metrics: Mapping[str, MetricInterval | float]) -> None:
    """Draw the metrics with their intervals, and what they mean."""
    language = session.language()
    page_parts.section(language.text("metrics"), language.text("metrics_intro"))
    rows = page_tables.metric_rows(metrics)
    if not rows:
        st.caption(language.text("not_available"))
        return
    st.table([row.as_table(language) for row in rows], hide_index=True)
    with st.expander(language.text("meaning")):
        for row in rows:
            meaning = language.metric_meaning(row.name)
            st.markdown(f"- **{language.metric(row.name)}**: {meaning}")


def show_calibration(bins: Sequence[CalibrationBin]) -> None:
    """Draw predicted risk against what happened."""
    language = session.language()
    page_parts.section(language.text("calibration"), language.text("calibration_intro"))
    if not bins:
        st.caption(language.text("not_available"))
        return
    titles = AxisTitles(language.text("predicted"), language.text("observed"))
    show_chart("calibration", charts.calibration(bins, titles))


def show_learning_curve(points: Sequence[LearningPoint]) -> None:
    """Draw how the model improves with more rows."""
    language = session.language()
    page_parts.section(language.text("learning_curve"), language.text("learning_intro"))
    if not points:
        st.caption(language.text("not_available"))
        return
    titles = AxisTitles(language.text("training_rows"), language.metric("auroc"))
    show_chart("learning", charts.learning(points, titles))


def show_decision_curve(model: ModelInfo) -> None:
    """Draw the net benefit of acting on the model."""
    language = session.language()
    page_parts.section(language.text("decision_curve"), language.text("decision_intro"))
    points = model.get("decision_curve")
    if not points:
        st.caption(language.text("not_available"))
        return
    figure = charts.decision(
        points,
        model["threshold"],
        AxisTitles(language.text("threshold"), language.text("net_benefit")),
        by_model=language.text("by_model"),
        for_everybody=language.text("for_everybody"),
    )
    show_chart("decision", figure)


def show_capacity(points: Sequence[CapacityPoint]) -> None:
    """Draw a slider of how many of 100 patients can be called, and what it brings.

    The number then counts for the answers of the other pages.
    """
    language = session.language()
    page_parts.section(language.text("capacity"), language.text("capacity_intro"))
    if not points:
        st.caption(language.text("not_available"))
        return
    by_calls = {point["calls_per_100"]: point for point in points}
    st.session_state.setdefault(SLIDER, session.calls_per_100() or USUAL_CALLS)
    calls = st.slider(
        language.text("capacity_slider"),
        min(by_calls),
        max(by_calls),
        key=SLIDER,
        on_change=_keep_calls,
    )
    page_parts.facts(page_tables.capacity(by_calls[calls], language))
    with st.expander(language.text("as_table")):
        table = []
        for point in points:
            number = {language.text("capacity_slider"): str(point["calls_per_100"])}
            table.append(number | page_tables.capacity(point, language))
        st.dataframe(table, hide_index=True)


def _keep_calls() -> None:
    """Keep the number: Streamlit forgets a slider when its page is left."""
    st.session_state[session.CALLS] = st.session_state[SLIDER]


def show_chart(key: str, figure: go.Figure) -> None:
    """Draw a curve, and its points as a table for those who cannot see it."""
    page_parts.chart(figure, f"chart:{key}")
    with st.expander(session.language().text("as_table")):
        st.dataframe(charts.rows(figure), hide_index=True)


def show_slices(
    slices: Sequence[SliceQuality], metrics: Mapping[str, MetricInterval | float]
) -> None:
    """Draw the quality within groups of patients."""
    language = session.language()
    page_parts.section(language.text("slices"), language.text("slices_intro"))
    if not slices:
        st.caption(language.text("not_available"))
        return
    names = []
    for part in slices:
        names.append(f"{language.value(part['slice'])}: {language.value(part['value'])}")
    overall = {metric.name: metric.figure for metric in page_tables.metric_rows(metrics)}
    figure = charts.intervals(names, slices, overall.get("auroc"))
    page_parts.chart(figure, "chart:slices")
    with st.expander(language.text("as_table")):
        st.dataframe(page_tables.slices(slices, language), hide_index=True)


def show_realised(model: ModelInfo) -> None:
    """Draw how good each version turned out to be, beside what the one in service promised."""
    language = session.language()
    page_parts.section(language.text("realised"), language.text("realised_intro"))
    reports = page_parts.load_rows(session.client().monitoring)
    if reports is None:
        return
    table = page_tables.realised(reports, language)
    if not table:
        st.caption(language.text("realised_none"))
        st.link_button(language.text("link_airflow"), session.links().airflow)
        return
    days, by_version = page_tables.realised_over_time(reports, "auroc")
    if by_version:
        lines = {}
        for version, line in by_version.items():
            lines[f"{language.text('version')} {version}"] = line
        promise = model.get("metrics", {}).get("auroc")
        figure = charts.over_time(days, lines, promise, language.metric("auroc"))
        page_parts.chart(figure, "chart:realised")
    st.dataframe(table, hide_index=True)


def show_decisions() -> None:
    """Draw the decisions to promote, keep or roll back."""
    language = session.language()
    page_parts.section(language.text("promotions"), language.text("promotions_intro"))
    decisions = page_parts.load_rows(session.client().history)
    if decisions:
        page_parts.reasons_in_english(decisions)
        page_parts.wide_table(page_tables.promotions(decisions, language))
    elif decisions is not None:
        st.caption(language.text("promotions_none"))
        st.link_button(language.text("link_experiments"), session.links().mlflow)


def show_card(card: str) -> None:
    """Draw the model card as training wrote it, its headings below those of the page."""
    language = session.language()
    st.header(language.text("model_card"), anchor=False)
    if not card:
        st.caption(language.text("not_available"))
        return
    page_parts.in_english("card_in_english")
    with st.expander(language.text("model_card")):
        st.markdown(re.sub("^#", "###", card, flags=re.MULTILINE))
