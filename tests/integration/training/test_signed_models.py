"""Only what was promoted is served: each attack on registry or object store once reached the API or
ran code.
"""

import pickle

import pytest
import yaml
from pydantic import SecretStr

from readmit import storage
from readmit.inference import signatures
from readmit.inference.signatures import NotSigned
from serving.api_settings import ServingSettings
from serving.bundle_cache import BundleCache
from serving.instruments import Metrics
from serving.model_registry import Registry
from serving.watcher import Watcher
from tests.integration.training.test_jobs import (
    NAME,
    copy_of,
    freeze,
    production,
    rows_of,
    settings,
    stored,
    train,
)
from training import adopt, jobs, mlflow_tracking, promotions, rollback, signed_models

__all__ = ["settings"]  # a fixture


@pytest.fixture(scope="module")
def first(contract, settings):
    """The version in production, trained and promoted if there is none."""
    freeze(contract, settings, "f" * 64)
    version = production(settings)
    if version is None:
        version = train("f" * 64, settings)
        assert jobs.decide(version, settings) == version
    return version


@pytest.fixture
def watcher(first, settings, tmp_path):
    watcher = Watcher(Registry(ServingSettings()), tmp_path / "models", 10, Metrics())
    (tmp_path / "models").mkdir()
    watcher.check()
    assert watcher.served.version.version == first
    return watcher


@pytest.fixture(scope="module")
def undecided(first, settings):
    """A version without a decision, which no test changes."""
    return copy_of(first, settings)


@pytest.fixture
def second(first, settings):
    """A version without a decision, of this test's own."""
    return copy_of(first, settings)


def point_alias_at(version, settings, alias="production"):
    with mlflow_tracking.reaching(settings) as client:
        client.set_registered_model_alias(NAME, alias, version)


def gauge(watcher, name):
    return watcher._metrics.gauge(name)._value.get()


def test_an_alias_without_a_decision_is_not_followed(watcher, first, undecided, settings):
    point_alias_at(undecided, settings)
    try:
        watcher.check()
        assert watcher.served.version.version == first
        assert gauge(watcher, "readmit_model_unbacked") == 1
        assert watcher.refused is None  # a decision may still come
    finally:
        point_alias_at(first, settings)
    watcher.check()
    assert gauge(watcher, "readmit_model_unbacked") == 0


def test_a_changed_file_of_production_is_not_served(first, settings, tmp_path):
    store = storage.client("trainer", settings)
    key = stored(settings, first, "report.json")
    content = store.get_object(**key)["Body"].read()
    store.put_object(**key, Body=content + b" ")
    try:
        watcher = Watcher(Registry(ServingSettings()), tmp_path, 10, Metrics())
        watcher.check()
        assert watcher.served is None
        assert "report.json is not the file that was signed" in watcher.refused["reason"]
    finally:
        store.put_object(**key, Body=content)


def test_a_changed_local_copy_is_fetched_again(watcher, first, tmp_path):
    models = tmp_path / "models"
    report = BundleCache(models).folder(watcher.served.version) / "report.json"
    report.write_bytes(report.read_bytes() + b" ")
    again = Watcher(Registry(ServingSettings()), models, 10, Metrics())
    again._start_from_copy()
    assert again.served is None
    again.check()
    assert again.served.version.version == first


def test_the_local_copy_is_served_without_the_registry(watcher, first, tmp_path):
    again = Watcher(Registry(ServingSettings()), tmp_path / "models", 10, Metrics())
    again._start_from_copy()
    assert again.served.version.version == first


class Bomb:
    def __reduce__(self):
        return (open, ("/nonexistent/bomb", "w"))


def test_a_planted_pickle_is_never_loaded(second, settings):
    store = storage.client("trainer", settings)
    key = stored(settings, second, "MLmodel")
    description = yaml.safe_load(store.get_object(**key)["Body"].read())
    description["flavors"]["sklearn"]["serialization_format"] = "cloudpickle"
    description["flavors"]["sklearn"]["pickled_model"] = "model.pkl"
    description["flavors"]["python_function"]["model_path"] = "model.pkl"
    store.put_object(**key, Body=yaml.safe_dump(description).encode())
    store.put_object(**stored(settings, second, "model.pkl"), Body=pickle.dumps(Bomb()))
    with pytest.raises(jobs.ModelRefused, match="judging failed: NotSigned"):
        jobs.decide(second, settings)
    assert [row[0] for row in rows_of(settings, second)] == ["keep"]


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("sklearn", {"serialization_format": "cloudpickle"}),
        ("sklearn", {"skops_trusted_types": ["builtins.eval"]}),
        ("python_function", {"loader_module": "os"}),
        ("python_function", {"code": "code"}),
    ],
)
def test_only_our_form_of_a_model_is_loaded(section, change, undecided, settings, tmp_path):
    with signed_models.verified(NAME, undecided, settings) as folder:
        description = yaml.safe_load((folder / "MLmodel").read_text())
    description["flavors"][section] |= change
    (tmp_path / "MLmodel").write_text(yaml.safe_dump(description))
    with pytest.raises(NotSigned):
        signed_models.check_form(tmp_path)


def test_a_statement_of_another_version_does_not_help(first, second, settings):
    store = storage.client("trainer", settings)
    statement = store.get_object(**stored(settings, first, signatures.FILE_NAME))["Body"].read()
    store.put_object(**stored(settings, second, signatures.FILE_NAME), Body=statement)
    with (
        pytest.raises(NotSigned, match=f"about {first}"),
        signed_models.verified(NAME, second, settings),
    ):
        pass


def test_a_roll_back_that_mlflow_refused_is_an_intent_only(first, contract, settings, monkeypatch):
    version = train(freeze(contract, settings, "d" * 64, seed=4), settings)
    better = jobs.promotion_gate.Verdict(True, "better")
    monkeypatch.setattr(jobs.promotion_gate, "judge", lambda *_, **__: better)
    assert jobs.decide(version, settings) == version

    def away(*_):
        raise ConnectionError("MLflow is away")

    with monkeypatch.context() as broken:
        broken.setattr(mlflow_tracking, "put_in_production", away)
        with pytest.raises(ConnectionError):
            rollback.rollback(first, settings)
    assert promotions.latest(NAME, settings).version == version
    assert rollback.rollback(first, settings) == (version, first)
    assert promotions.latest(NAME, settings).version == first


def test_a_version_from_before_signatures_is_adopted_once(first, settings):
    assert adopt.adopt(settings) is None  # signed already
    store = storage.client("trainer", settings)
    key = stored(settings, first, signatures.FILE_NAME)
    statement = store.get_object(**key)["Body"].read()
    store.delete_object(**key)
    with pytest.MonkeyPatch.context() as upgrade:
        upgrade.setattr(promotions, "last_statement", lambda *_: None)
        assert adopt.adopt(settings) == first
    assert promotions.latest(NAME, settings).decision == "adopt"
    with signed_models.verified(NAME, first, settings) as folder:
        assert (folder / "contract.json").is_file()
    assert statement != store.get_object(**key)["Body"].read()


def test_a_new_key_signs_production_again(first, settings):
    private_key, public_key = signatures.generate_keys()
    trusted = f"{public_key},{settings.model_public_key}"
    update = {"model_signing_key": SecretStr(private_key), "model_public_key": trusted}
    rotated = settings.model_copy(update=update)
    with signed_models.verified(NAME, first, rotated):  # by the key of before
        pass
    assert adopt.adopt(rotated) == first
    assert adopt.adopt(rotated) is None
    only_new = settings.model_copy(update={"model_public_key": public_key})
    with signed_models.verified(NAME, first, only_new):
        pass
    statement = promotions.last_statement(NAME, first, settings)
    assert signatures.is_of_today(statement, public_key)
    back = {"model_public_key": f"{settings.model_public_key},{public_key}"}
    assert adopt.adopt(settings.model_copy(update=back)) == first  # as the other tests need it
