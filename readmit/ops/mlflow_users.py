"""MLflow's tables and users: `python -m readmit.ops.mlflow_users`, before MLflow starts.

MLflow itself creates tables, and refuses tables of an older release: `mlflow db upgrade` brings
them forward. `admin` may change everything. `api` is the prediction API's user and may only read:
the default permission is READ (`k8s/base/mlflow-auth.ini`), and it has no other. `notebook` is the
user of notebooks: MLflow lets every user create experiments and change those. It may be run again
at any time, and gives all users the passwords of today's settings.
"""

import os
import sys

from mlflow import db as mlflow_database
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

from readmit import db
from readmit.command import explained
from readmit.settings import MLFLOW_NOTEBOOK, MLFLOW_READER, RegistryUsersSettings

URL = "postgresql+psycopg2://mlflow@/mlflow"


def set_up(settings: RegistryUsersSettings) -> None:
    """Bring MLflow's tables to the installed release, and create each user that has a password in
    the settings.
    """
    # No password is written into an address, where some characters have a meaning.
    os.environ["PGHOST"] = settings.postgres_host
    os.environ["PGPORT"] = str(settings.postgres_port)
    os.environ["PGPASSWORD"] = db.password("mlflow", settings)
    mlflow_database.commands(["upgrade", URL], standalone_mode=False)
    store = SqlAlchemyStore()
    store.init_db(URL)  # type: ignore[no-untyped-call]
    passwords = {
        settings.mlflow_tracking_username: settings.mlflow_tracking_password,
        MLFLOW_READER: settings.mlflow_api_password,
        MLFLOW_NOTEBOOK: settings.mlflow_notebook_password,
    }
    for name, secret in passwords.items():
        if secret is None:
            continue
        password = secret.get_secret_value()
        is_admin = name == settings.mlflow_tracking_username
        if not store.has_user(name):
            store.create_user(name, password, is_admin=is_admin)
        elif not store.authenticate_user(name, password):
            store.update_user(name, password=password)


@explained
def main() -> int:
    """Command line."""
    set_up(RegistryUsersSettings())
    return 0


if __name__ == "__main__":
    sys.exit(main())
