"""The web form's links on a cluster: by host name behind an ingress, by the node's ports without one."""

import pytest

from readmit.settings import BadSetting, Settings
from ui.links import links

INSIDE = {"mlflow_tracking_uri": "http://mlflow:5000", "api_url": "http://api:8000"}


def test_behind_an_ingress_each_page_has_its_host_name() -> None:
    found = links(
        Settings(**INSIDE, public_url="https://{part}.readmit.example.org"),
        "https://readmit.example.org/",
    )
    assert found.mlflow == "https://mlflow.readmit.example.org"
    assert found.api == "https://api.readmit.example.org"
    assert found.lineage == "https://docs.readmit.example.org/dbt/"


def test_a_name_inside_the_cluster_is_never_shown() -> None:
    found = links(Settings(**INSIDE, mlflow_port=30500, api_port=30800), "http://10.1.2.3:30501/")
    assert found.mlflow == "http://10.1.2.3:30500"
    assert found.api == "http://10.1.2.3:30800"


def test_an_address_without_its_place_is_refused() -> None:
    with pytest.raises(BadSetting, match="PUBLIC_URL"):
        Settings(public_url="https://readmit.example.org")
