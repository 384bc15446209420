"""The pages with a served model: the API is a real process, with a small model and an earlier
one.
"""

import hashlib
from types import SimpleNamespace

import httpx
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from readmit.client.api_client import ApiDown, Client
from tests.support.api import running
from tests.support.services import wait_until
from ui import batch_file, form
from ui import language as languages

ENGLISH = languages.load("en")
SPANISH = languages.load("es")


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    home = tmp_path_factory.mktemp("api")
    with (
        running(home, 1, READMIT_REGISTRY_POLL_SECONDS="0.2") as (url, _),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("READMIT_ENV_FILE", str(home / "none"))
        patch.setenv("READMIT_API_URL", url)
        st.cache_resource.clear()
        st.cache_data.clear()
        yield url, home
        st.cache_resource.clear()
        st.cache_data.clear()


def set_previous(url, home, number):
    """Give the alias `previous` to a version, or to none, and wait until the API follows."""
    file = home / "previous"
    if number:
        file.write_text(number)
    else:
        file.unlink(missing_ok=True)

    def is_loaded():
        ready = httpx.get(f"{url}/readyz", trust_env=False).json()
        return ready["beside"].get("previous", {}).get("version") == number

    wait_until(is_loaded, f"the API holds version {number} beside production")


def answered(language="en"):
    app = AppTest.from_string(
        "from ui.views import predict_page\npredict_page.render()", default_timeout=30
    )
    app.query_params["lang"] = language
    app.run()
    app.button[-1].click().run()
    assert not app.exception
    return app


def shown(app):
    return values(app.caption) + values(app.header)


def values(elements):
    return [element.value for element in elements]


@pytest.mark.parametrize("language", [ENGLISH, SPANISH])
def test_two_versions_stand_side_by_side(api, language):
    set_previous(*api, "2")
    app = answered(language.code)
    captions = shown(app)
    assert language.text("compare") in captions
    agreement = (language.text("compare_agree"), language.text("compare_disagree"))
    assert any(caption.endswith(agreement) for caption in captions)
    assert language.text("compare_none") not in captions


def test_without_an_earlier_version_the_page_says_so(api):
    set_previous(*api, None)
    assert ENGLISH.text("compare_none") in shown(answered())


def test_a_part_that_has_no_answer_says_why(api, monkeypatch):
    def away(*_):
        raise ApiDown("it ended after the prediction")

    monkeypatch.setattr(Client, "explain", away)
    monkeypatch.setattr(Client, "compare", away)
    captions = shown(answered())
    assert captions.count(ENGLISH.text("failed", detail=ENGLISH.text("api_down"))) == 2
    assert ENGLISH.text("compare_none") not in captions


def test_the_run_is_linked_in_its_experiment(api):
    links = [button.proto.url for button in answered().get("link_button")]
    assert any(url.endswith("/#/experiments/7/runs/run1") for url in links)


def test_what_if_moves_the_score(api):
    app = answered()
    app.selectbox(key="what_if:1").select_index(0).run()
    assert not app.exception
    assert values(app.warning) == [ENGLISH.text("sample_data")]
    assert len(app.get("plotly_chart")) == 2 - (ENGLISH.text("drivers_usual") in shown(app))


def test_a_wrong_field_is_named_by_its_label(api):
    app = AppTest.from_string(
        "from ui.views import predict_page\npredict_page.render()", default_timeout=30
    )
    app.query_params["lang"] = "es"
    app.run()
    app.text_input(key="patient_nbr").input("12a")
    app.button[-1].click().run()
    assert not app.exception
    label = SPANISH.text("patient_number")
    assert f"- {label}: debe ser un número entero" in app.error[0].value
    assert any("debe ser un número entero" in caption for caption in shown(app))


def test_an_example_patient_has_no_number_of_another_one(api):
    app = AppTest.from_string(
        "from ui.views import predict_page\npredict_page.render()", default_timeout=30
    ).run()
    app.text_input(key="patient_nbr").set_value("4711")
    app.button[-1].click().run()
    app.button(key="example:default").click().run()
    assert app.text_input(key="patient_nbr").value == ""


def test_the_patient_number_is_there_again_when_the_page_was_left(api):
    """Streamlit drops what its widgets hold while another page is shown."""
    app = AppTest.from_string(
        "import streamlit as st\n"
        "from ui.views import predict_page\n"
        "if not st.checkbox('another page'):\n"
        "    predict_page.render()\n",
        default_timeout=30,
    ).run()
    app.text_input(key="patient_nbr").set_value("4711")
    app.button[-1].click().run()
    app.checkbox[0].check().run()
    assert not app.text_input
    app.checkbox[0].uncheck().run()
    assert app.text_input(key="patient_nbr").value == "4711"


def test_a_scored_file_is_there_again_when_the_page_was_left(api, monkeypatch):
    app = AppTest.from_string(
        "from ui.views import batch_page\nbatch_page.render()", default_timeout=30
    )
    client = Client(api[0])
    model = form.form_model(client.model())
    content = batch_file.template(form.fields(model.features, client.seed, ENGLISH)).encode()
    upload = SimpleNamespace(name="ward-3.csv", file_id="1", getvalue=lambda: content)
    monkeypatch.setattr(st, "file_uploader", lambda *_, **__: upload)
    app.run()
    app.button(key="batch:score").click().run()
    assert not app.exception
    [scored] = app.success
    monkeypatch.setattr(st, "file_uploader", lambda *_, **__: None)
    app.run()
    assert "`ward-3.csv`" in app.info[0].value
    assert app.success[0].value == scored.value


def test_a_form_of_an_older_contract_says_what_was_assumed(api):
    url, _ = api
    older = httpx.get(f"{url}/model", trust_env=False).json()
    older["contract"]["hash"] = "older"
    features = older["contract"]["features"]
    older["contract"]["features"] = [row for row in features if row["name"] != "n_medications"]
    app = AppTest.from_string(
        "from ui.views import predict_page\npredict_page.render()", default_timeout=30
    )
    app.session_state["model"] = form.form_model(older)
    app.run()
    app.button[-1].click().run()
    assert ENGLISH.text("defaulted", names="N medications") in values(app.info)


def is_registry_up(url):
    return httpx.get(f"{url}/readyz", trust_env=False).json()["registry"]["up"]


@pytest.mark.parametrize("page", ["predict", "batch", "model"])
def test_pages_say_that_the_registry_is_away(api, page):
    url, home = api
    (home / "away").touch()
    wait_until(lambda: not is_registry_up(url), "the registry is away")
    app = AppTest.from_string(
        f"from ui.views import {page}_page\n{page}_page.render()", default_timeout=30
    ).run()
    (home / "away").unlink()
    assert not app.exception
    assert ENGLISH.text("stale_model") in values(app.warning)
    wait_until(lambda: is_registry_up(url), "the registry is back")


@pytest.mark.parametrize(("page", "n_away"), [("model", 2), ("data", 1)])
def test_an_unreachable_database_does_not_look_like_an_empty_one(api, page, n_away):
    app = AppTest.from_string(
        f"from ui.views import {page}_page\n{page}_page.render()", default_timeout=30
    ).run()
    assert not app.exception
    missing = [text for text in values(app.warning) if text.startswith("This part cannot be shown")]
    assert len(missing) == n_away
    for key in ("quarantine_none", "realised_none", "promotions_none", "rates_none"):
        assert ENGLISH.text(key) not in shown(app)
    assert ENGLISH.text("ledger_none") not in values(app.info)
    # The small model has no metrics, curves, calls or groups of patients.
    n_missing = {"model": 7, "data": 0}
    assert shown(app).count(ENGLISH.text("not_available")) == n_missing[page]


@pytest.mark.parametrize("page", ["model", "data"])
def test_empty_parts_link_to_the_next_step(api, monkeypatch, page):
    for name in ("batches", "inbox", "quarantine", "outcomes", "monitoring", "history"):
        monkeypatch.setattr(Client, name, lambda _: [])
    app = AppTest.from_string(
        f"from ui.views import {page}_page\n{page}_page.render()", default_timeout=30
    ).run()
    assert not app.exception
    texts = shown(app) + values(app.info)
    links = [button.proto.label for button in app.get("link_button")]
    leads = {
        "model": {"realised_none": "link_airflow", "promotions_none": "link_experiments"},
        "data": {"ledger_none": "link_airflow", "quarantine_none": "link_quality"},
    }
    for text, link in leads[page].items():
        assert ENGLISH.text(text) in texts
        assert ENGLISH.text(link) in links


def test_the_default_patient_gets_the_strongest_drivers(api):
    app = answered()
    texts = values(app.markdown)
    assert (ENGLISH.text("drivers_usual") in shown(app)) == (
        ENGLISH.text("strongest_intro") in texts
    )


def test_a_model_without_a_decision_curve_says_so(api):
    app = AppTest.from_string(
        "from ui.views import model_page\nmodel_page.render()", default_timeout=30
    ).run()
    assert not app.exception
    assert ENGLISH.text("decision_curve") in values(app.header)
    assert ENGLISH.text("not_available") in shown(app)


@pytest.mark.parametrize("language", [ENGLISH, SPANISH])
def test_the_slider_shows_what_so_many_calls_bring(api, monkeypatch, language):
    interval = {"figure": 0.25, "low": 0.2, "high": 0.3}
    points = []
    for calls in range(1, 51):
        per_readmission = {"figure": 3.5, "low": 3.0, "high": 4.0} if calls > 1 else None
        points.append(
            {
                "calls_per_100": calls,
                "threshold": 0.5 - calls / 200,
                "called": interval,
                "readmissions_found": interval,
                "calls_per_readmission": per_readmission,
            }
        )
    model = Client(api[0]).model() | {"capacity": points}
    monkeypatch.setattr(Client, "model", lambda _: model)
    app = AppTest.from_string(
        "from ui.views import model_page\nmodel_page.render()", default_timeout=30
    )
    app.query_params["lang"] = language.code
    app.run()
    assert app.slider[0].value == 10
    assert "calls_per_100" not in app.session_state  # the number of the key counts until it moves
    app.slider[0].set_value(20).run()
    assert not app.exception
    assert app.session_state["calls_per_100"] == 20
    cards = " ".join(html.proto.body for html in app.get("html"))
    for text in ("40.00 %", "25.0 %", "3.5", language.text("calls_per_readmission")):
        assert text in cards
    app.slider[0].set_value(1).run()
    cards = " ".join(html.proto.body for html in app.get("html"))
    assert language.text("capacity_nobody") in cards


def test_the_form_asks_for_the_chosen_number_of_calls(api, monkeypatch):
    sent = []
    predict = Client.predict

    def spy(client, row, **parameters):
        sent.append(parameters)
        return predict(client, row, **parameters)

    monkeypatch.setattr(Client, "predict", spy)
    for calls in (None, 20):
        app = AppTest.from_string(
            "from ui.views import predict_page\npredict_page.render()", default_timeout=30
        )
        if calls:
            app.session_state["calls_per_100"] = calls
        app.run()
        app.button[-1].click().run()
        assert not app.exception
        assert sent.pop() == {"calls_per_100": calls}


@pytest.mark.parametrize("language", [ENGLISH, SPANISH])
def test_the_answer_says_how_sure_it_is(api, monkeypatch, language):
    certainty = {
        "observed": {"figure": 0.182, "low": 0.155, "high": 0.213},
        "n_stays": 1744,
        "is_unlike_training": False,
        "unusual_fields": [],
    }
    predict = Client.predict

    def with_certainty(client, row, **parameters):
        return predict(client, row, **parameters) | {"certainty": certainty}

    monkeypatch.setattr(Client, "predict", with_certainty)
    app = answered(language.code)
    sentences = [text for text in values(app.markdown) if "18.2 %" in text]
    assert len(sentences) == 1
    for figure in ("15.5 %", "21.3 %", f"1{language.thousands}744"):
        assert figure in sentences[0]
    assert not any(language.text("unlike_training") in text for text in values(app.warning))
    certainty |= {"is_unlike_training": True, "unusual_fields": ["n_medications"]}
    warnings = values(answered(language.code).warning)
    (warning,) = [text for text in warnings if language.text("unlike_training") in text]
    assert "n_medications" in warning  # the small model's label


def test_the_form_sends_its_key_to_an_api_that_requires_one(tmp_path, monkeypatch):
    monkeypatch.setenv("READMIT_ENV_FILE", str(tmp_path / "none"))
    with running(tmp_path, 1, READMIT_API_KEY_HASHES=hashlib.sha256(b"a key").hexdigest()) as (
        url,
        _,
    ):
        monkeypatch.setenv("READMIT_API_URL", url)
        for key, is_accepted in (("a key", True), ("another", False)):
            monkeypatch.setenv("READMIT_API_KEY", key)
            st.cache_resource.clear()
            st.cache_data.clear()
            app = AppTest.from_string(
                "from ui.views import predict_page\npredict_page.render()", default_timeout=30
            ).run()
            assert bool(app.button) == is_accepted
            assert bool(app.error) != is_accepted
    st.cache_resource.clear()
    st.cache_data.clear()


def test_a_file_is_put_into_the_inbox_and_shown_with_its_result(api, monkeypatch):
    submitted = []

    def submit(_, name, content):
        submitted.append((name, content))
        return {"name": name, "file_sha256": "c1d2", "n_bytes": len(content)}

    row = {
        "name": "ward-3.csv",
        "received_at": "2026-01-30T04:00:02+00:00",
        "state": "rejected",
        "reason": "raw gate: nonsense",
        "n_rows": 840,
        "n_known": 600,
        "n_changed": 2,
    }
    for name in ("batches", "quarantine"):
        monkeypatch.setattr(Client, name, lambda _: [])
    monkeypatch.setattr(Client, "inbox", lambda _: [row])
    monkeypatch.setattr(Client, "submit", submit)
    upload = SimpleNamespace(name="ward-3.csv", getvalue=lambda: b"encounter_id")
    monkeypatch.setattr(st, "file_uploader", lambda *_, **__: upload)
    app = AppTest.from_string(
        "from ui.views import data_page\ndata_page.render()", default_timeout=30
    ).run()
    assert not app.exception
    assert submitted == []
    app.button(key="inbox:submit").click().run()
    assert submitted == [("ward-3.csv", b"encounter_id")]
    assert values(app.success) == [ENGLISH.text("inbox_submitted", name="ward-3.csv")]
    [table] = app.dataframe
    assert table.value.iloc[0].tolist() == [
        "ward-3.csv",
        "2026-01-30 04:00",
        "rejected",
        "840",
        "600",
        "2",
        "raw gate: nonsense",
    ]
