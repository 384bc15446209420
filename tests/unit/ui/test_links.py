"""The web form's links on a cluster: by host name behind an ingress, by the node's ports without
one.
"""

import pytest

from readmit.settings import BadSetting
from ui.form_settings import FormSettings
from ui.links import links

INSIDE = {"mlflow_tracking_uri": "http://mlflow:5000", "api_url": "http://api:8000"}


def test_behind_an_ingress_each_page_has_its_host_name() -> None:
    addresses = links(
        FormSettings(**INSIDE, public_url="https://{part}.readmit.example.org"),
        "https://readmit.example.org/",
    )
    assert addresses.mlflow == "https://mlflow.readmit.example.org"
    assert addresses.api == "https://api.readmit.example.org"
    assert addresses.lineage == "https://docs.readmit.example.org/dbt/#!/overview?g_v=1"


def test_a_name_inside_the_cluster_is_never_shown() -> None:
    addresses = links(
        FormSettings(**INSIDE, mlflow_port=30500, api_port=30800), "http://10.1.2.3:30501/"
    )
    assert addresses.mlflow == "http://10.1.2.3:30500"
    assert addresses.api == "http://10.1.2.3:30800"


def test_an_address_without_its_place_is_refused() -> None:
    with pytest.raises(BadSetting, match="READMIT_PUBLIC_URL"):
        FormSettings(public_url="https://readmit.example.org")


def test_links_use_the_name_by_which_the_reader_came(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("READMIT_ENV_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("READMIT_MLFLOW_TRACKING_URI", raising=False)
    addresses = links(FormSettings(), "http://ward-7:8501/predict")
    assert addresses.run("a/b", "12").startswith("http://ward-7:5000/#/experiments/12/")
    assert addresses.run("a/b", "12").endswith("runs/a%2Fb")
    elsewhere = links(FormSettings(mlflow_tracking_uri="https://mlflow.example/"), None)
    assert elsewhere.version(3).startswith("https://mlflow.ex")


def test_links_are_public_when_the_installation_says_how(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("READMIT_ENV_FILE", str(tmp_path / "none"))
    settings = FormSettings(public_url="https://{part}.ward.example/")
    assert links(settings, "http://ward-7:8501").docs == "https://docs.ward.example"
