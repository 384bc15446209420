"""Registered models as they were signed.

They are downloaded, compared with the signed statement, and only then loaded.

An artefact says in its own MLmodel file how it wants to be loaded, and pickles run code. So nothing
of an artefact is
trusted: its files must be the signed ones, and MLmodel must name the one form that we log (skops
    with our types).
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from readmit.inference import signatures
from readmit.inference.signatures import NotSigned, Statement
from readmit.settings import ModelSigning, ModelVerification

# The decision of a version that training has registered and nobody has judged yet.
REGISTRATION = "registration"
# Types that skops may load besides those of numpy and scikit-learn. Each is reviewed: a booster is
# data that its library reads.
TRUSTED_TYPES = [
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "catboost.core.CatBoostClassifier",
    "numpy.asarray",
    "numpy.dot",
    "numpy.interp",
    "numpy.rint",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
]


class KeyMissing(LookupError):
    """A signing key is not set; the message names the variable."""


def sign_version(
    client: MlflowClient, name: str, version: str, decision_id: str, settings: ModelSigning
) -> str:
    """Sign the files of a registered version for a decision, and store the statement beside them.

    Args:
        client: MLflow.
        name: the registered model.
        version: its version; for any decision but its registration its files must be the signed
            ones.
        decision_id: `REGISTRATION`, or the id of the row in `ops.promotions`.
        settings: holds the private key.

    Returns:
        The signed document.

    Raises:
        NotSigned: the files are not those that were signed at the registration.
        KeyMissing: READMIT_MODEL_SIGNING_KEY is not set.
    """
    with _downloaded(f"models:/{name}/{version}") as folder:
        if decision_id != REGISTRATION:
            check(folder, version, settings)
        check_form(folder)
        statement = Statement(name, version, decision_id, signatures.digests(folder))
        return _store_statement(client, statement, settings)


def adopt_version(
    client: MlflowClient, name: str, version: str, decision_id: str, settings: ModelSigning
) -> str:
    """Sign a version of the time before signatures as it is now; see `sign_version`."""
    with _downloaded(f"models:/{name}/{version}") as folder:
        check_form(folder)
        statement = Statement(name, version, decision_id, signatures.digests(folder))
        return _store_statement(client, statement, settings)


@contextmanager
def verified(name: str, version: str, settings: ModelVerification) -> Iterator[Path]:
    """Download a version and give its folder, once its files are those that were signed.

    Raises:
        NotSigned: they are not, or the version was never signed.
        MlflowException: there is no such version.
    """
    with _downloaded(f"models:/{name}/{version}") as folder:
        check(folder, version, settings)
        check_form(folder)
        yield folder


@contextmanager
def logged(model_id: str) -> Iterator[Path]:
    """Download a logged model that is not registered yet.

    Its folder is given once its form is ours.
    """
    with _downloaded(f"models:/{model_id}") as folder:
        check_form(folder)
        yield folder


def check(folder: Path, version: str, settings: ModelVerification) -> Statement:
    """Compare a downloaded version with the statement beside it.

    Raises:
        NotSigned: there is none, it is about another version, or a file differs.
        KeyMissing: READMIT_MODEL_PUBLIC_KEY is not set.
    """
    if not settings.model_public_key:
        raise KeyMissing("READMIT_MODEL_PUBLIC_KEY is not set: `make up` writes it into .env")
    path = folder / signatures.FILE_NAME
    if not path.is_file():
        raise NotSigned(f"version {version} was never signed: `python -m training.adopt` signs it")
    statement = signatures.verify(path.read_text(encoding="utf-8"), settings.model_public_key)
    if statement.version != version:
        raise NotSigned(f"the signature beside version {version} is about {statement.version}")
    signatures.check_files(statement, folder, required=["MLmodel"])
    return statement


def check_form(folder: Path) -> None:
    """Check that an artefact is a scikit-learn model in skops' form, and brings no code.

    Raises:
        NotSigned: it asks to be loaded in another way.
    """
    description = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
    flavors = description["flavors"]
    sklearn = flavors.get("sklearn", {})
    pyfunc = flavors.get("python_function", {})
    if set(flavors) != {"sklearn", "python_function"}:
        raise NotSigned(f"MLmodel has the flavors {sorted(flavors)}, not sklearn's alone")
    if sklearn.get("serialization_format") != "skops":
        raise NotSigned(f"MLmodel asks for {sklearn.get('serialization_format')}, not skops")
    if not set(sklearn.get("skops_trusted_types") or []) <= set(TRUSTED_TYPES):
        raise NotSigned("MLmodel trusts types that are not on our list")
    if pyfunc.get("loader_module") != "mlflow.sklearn":
        raise NotSigned(
            f"MLmodel is loaded by {pyfunc.get('loader_module')}, not by mlflow.sklearn"
        )
    if pyfunc.get("code") or sklearn.get("code"):
        raise NotSigned("MLmodel brings code of its own")


@contextmanager
def _downloaded(address: str) -> Iterator[Path]:
    temporary = tempfile.mkdtemp()
    try:
        yield Path(mlflow.artifacts.download_artifacts(address, dst_path=temporary))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _store_statement(client: MlflowClient, statement: Statement, settings: ModelSigning) -> str:
    """Sign a statement and store it beside the files of its version; return the document."""
    key = settings.model_signing_key
    if key is None or not key.get_secret_value():
        raise KeyMissing("READMIT_MODEL_SIGNING_KEY is not set: `make up` writes it into .env")
    document = signatures.sign(statement, key.get_secret_value())
    source = str(client.get_model_version(statement.model, statement.version).source)
    if not source.startswith("models:/"):
        raise MlflowException(f"version {statement.version} is no logged model, but {source}")
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / signatures.FILE_NAME
        path.write_text(document, encoding="utf-8")
        client.log_model_artifact(source.removeprefix("models:/"), str(path))
    return document
