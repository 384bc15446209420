"""How MLflow of this process reaches the tracking server and the object store."""

import boto3
import pytest

from training import mlflow_tracking
from training.training_settings import TrainingSettings


@pytest.mark.parametrize("key", ["first", "second"])
def test_the_keys_of_new_settings_replace_those_of_earlier_ones(key, monkeypatch):
    """boto3's default session kept the first keys: later uploads of the process were refused."""
    for name in ("READMIT_MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(name, "")  # MLflow sets them; they go when the test ends
    settings = TrainingSettings(s3_trainer_access_key_id=key, s3_trainer_secret_access_key="secret")
    with mlflow_tracking.reaching(settings):
        # MLflow makes its client without keys of its own.
        credentials = boto3.client("s3")._request_signer._credentials
    assert credentials.access_key == key
