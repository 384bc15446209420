"""The Secrets that the manifests read: `python -m k8s.make_secrets | kubectl apply -f -` for a first installation.

Values are generated here and live in the cluster only, never in git. `make k8s-up` keeps the ones that exist.
"""

import base64
import json
import os
import secrets
from collections.abc import Callable, Collection
from typing import Any

from k8s.cluster import NAMESPACE, as_list
from readmit.ops.bootstrap import LOGIN_ROLES
from stack.certificates import self_signed
from stack.object_store import mutual_tls

Values = dict[str, str]


def _password() -> str:
    return secrets.token_urlsafe(24)


def _role(name: str) -> Callable[[], Values]:
    return lambda: {f"{name.upper()}_PASSWORD": _password()}


def _airflow_keys() -> Values:
    return {
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
    }


def _airflow_admin() -> Values:
    password = _password()
    return {"AIRFLOW_ADMIN_PASSWORD": password, "passwords.json": json.dumps({"admin": password})}


def _mlflow_admin() -> Values:
    names = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY")
    return {"MLFLOW_TRACKING_USERNAME": "admin"} | {name: _password() for name in names}


def _object_store() -> Values:
    return {
        "AWS_ACCESS_KEY_ID": secrets.token_hex(10),
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
    }


def _object_store_tls() -> Values:
    """The certificate of the store's internal ports and the file that tells SeaweedFS to use it."""
    certificate, key = self_signed("object store")
    folder = "/etc/seaweedfs"
    options = mutual_tls(f"{folder}/certificate.pem", f"{folder}/key.pem")
    lines = [f'{name} = "{value}"' for name, value in options.items()]
    return {
        "certificate.pem": certificate.decode(),
        "key.pem": key.decode(),
        "security.toml": "\n".join(lines) + "\n",
    }


SECRETS: dict[str, Callable[[], Values]] = {
    "postgres-admin": _role("postgres"),
    **{f"role-{role}": _role(role) for role in LOGIN_ROLES},
    "object-store": _object_store,
    "object-store-tls": _object_store_tls,
    "airflow-keys": _airflow_keys,
    "airflow-admin": _airflow_admin,
    "mlflow-admin": _mlflow_admin,
    "grafana-admin": lambda: {"GRAFANA_ADMIN_PASSWORD": _password()},
    "notebook": lambda: {"JUPYTER_TOKEN": _password()},
}
# Made from `object-store`: the file that SeaweedFS reads its keys from.
IDENTITIES = "object-store-identities"


def identities(store: Values) -> Values:
    """Return SeaweedFS' file of keys for the keys that clients use."""
    keys = [{"accessKey": store["AWS_ACCESS_KEY_ID"], "secretKey": store["AWS_SECRET_ACCESS_KEY"]}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {
        "identities.json": json.dumps(
            {"identities": [{"name": "readmit", "credentials": keys, "actions": actions}]}
        )
    }


def manifest(name: str, values: Values) -> dict[str, Any]:
    """Return one Secret."""
    labels = {"app.kubernetes.io/part-of": "readmit"}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "stringData": values,
    }


def missing(present: Collection[str], store: Values | None = None) -> list[dict[str, Any]]:
    """Return the Secrets that are not `present`, with new values; `store` is what an existing object-store holds."""
    made = {name: make() for name, make in SECRETS.items() if name not in present}
    if IDENTITIES not in present:
        made[IDENTITIES] = identities(made.get("object-store") or store or {})
    return [manifest(name, values) for name, values in made.items()]


if __name__ == "__main__":
    print(as_list(missing(())))
