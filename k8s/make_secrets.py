"""The Secrets that the manifests read.

`python -m k8s.make_secrets | kubectl create -f -` makes them for a first installation.
Values are generated here and live in the cluster only, never in git. `make k8s-up` keeps the ones
that exist.
"""

import base64
import json
import os
import secrets
from collections.abc import Mapping
from hashlib import sha256

from k8s.cluster import NAMESPACE, Resource, as_list
from readmit import storage
from readmit.client import access_keys
from readmit.inference import signatures
from readmit.ops.bootstrap import LOGIN_ROLES
from readmit.settings import AlertSettings
from stack import alerting
from stack.certificates import self_signed
from stack.login_proxy import htpasswd
from stack.object_store import identities, mutual_tls

Values = dict[str, str]


def _password() -> str:
    return secrets.token_urlsafe(24)


def new_values() -> dict[str, Values]:
    """Return new values of every Secret that has values of its own, by its name."""
    admin_password = _password()
    proxy_password = _password()
    signing_key, public_key = signatures.generate_keys()
    values_of = {
        "postgres-admin": {"POSTGRES_PASSWORD": _password()},
        "object-store-tls": _object_store_tls(),
        "airflow-keys": {
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
        },
        "airflow-admin": {
            "AIRFLOW_ADMIN_PASSWORD": admin_password,
            "passwords.json": json.dumps({"admin": admin_password}),
        },
        "mlflow-admin": {
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": _password(),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": _password(),
        },
        "mlflow-api": {"MLFLOW_API_PASSWORD": _password()},
        "grafana-admin": {"GRAFANA_ADMIN_PASSWORD": _password()},
        # The settings of the person who installs say who gets the alerts.
        "alertmanager": {"alertmanager.yml": alerting.configuration(AlertSettings())},
        "login-proxy": {"PROXY_PASSWORD": proxy_password, "htpasswd": htpasswd(proxy_password)},
        "api-keys": _api_keys(),
        "model-signing": {"MODEL_SIGNING_KEY": signing_key, "MODEL_PUBLIC_KEY": public_key},
        "erasure-key": {"ERASURE_KEY": secrets.token_urlsafe(32)},
        "mlflow-notebook": {"MLFLOW_NOTEBOOK_PASSWORD": _password()},
        "notebook": {"JUPYTER_TOKEN": _password()},
    }
    for role in LOGIN_ROLES:
        values_of[f"role-{role}"] = {f"{role.upper()}_PASSWORD": _password()}
    for identity in storage.IDENTITIES:
        access_key, secret_key = storage.variables(identity)
        values_of[secret_of(identity)] = {
            access_key: secrets.token_hex(10),
            secret_key: secrets.token_urlsafe(30),
        }
    return values_of


def _api_keys() -> Values:
    """Return keys of the API: the web form's, one for each other client, and their hashes."""
    form_key = _password()
    values = {"API_KEY": form_key}
    entries = [access_keys.of_the_form(form_key).entry()]
    for client in ("load", "notebook"):
        key = _password()
        key_hash = sha256(key.encode()).hexdigest()
        access_key = access_keys.AccessKey(client, frozenset({access_keys.Scope.PREDICT}), key_hash)
        values[f"{client.upper()}_API_KEY"] = key
        entries.append(access_key.entry())
    values["API_KEYS"] = ",".join(entries)
    return values


def _object_store_tls() -> Values:
    """Return the certificate of the store's internal ports, and SeaweedFS' file that names it."""
    certificate, key = self_signed("object store")
    folder = "/etc/seaweedfs"
    options = mutual_tls(f"{folder}/certificate.pem", f"{folder}/key.pem")
    lines = [f'{name} = "{value}"' for name, value in options.items()]
    return {
        "certificate.pem": certificate.decode(),
        "key.pem": key.decode(),
        "security.toml": "\n".join(lines) + "\n",
    }


# Made from the keys of every identity: the file that SeaweedFS reads.
IDENTITIES = "s3-identities"


def secret_of(identity: storage.Identity) -> str:
    """Return the name of the Secret that has an identity's keys."""
    return "object-store" if identity == "admin" else f"s3-{identity}"


def secret_names() -> list[str]:
    """Return the names of all our Secrets."""
    return [*new_values(), IDENTITIES]


def manifest(name: str, values: Values) -> Resource:
    """Return one Secret."""
    labels = {"app.kubernetes.io/part-of": "readmit"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "type": "Opaque",
        "stringData": values,
    }


def missing(present: Mapping[str, Values]) -> list[Resource]:
    """Return the Secrets that are not `present`, with new values.

    The object store's file gets the keys that are present.
    """
    values_of = new_values()
    values_of[IDENTITIES] = _identities_file({**values_of, **present})
    return [manifest(name, values) for name, values in values_of.items() if name not in present]


def outdated(present: Mapping[str, Values]) -> list[Resource]:
    """Return the object store's file when an earlier release wrote it: it lacks keys or rights.

    Args:
        present: the values of every Secret of ours.
    """
    today = _identities_file(present)
    if _parsed(present[IDENTITIES]) == _parsed(today):
        return []
    return [manifest(IDENTITIES, today)]


def _identities_file(values_of: Mapping[str, Values]) -> Values:
    keys = {}
    for identity in storage.IDENTITIES:
        access_key, secret_key = storage.variables(identity)
        values = values_of[secret_of(identity)]
        keys[identity] = (values[access_key], values[secret_key])
    return {"identities.json": identities(keys)}


def _parsed(values: Values) -> object:
    return json.loads(values["identities.json"])


if __name__ == "__main__":
    print(as_list(missing({})))
