"""`make rotate`: new passwords and keys for the running stack, while predictions go on.

New ones are written to `.env` in one step. Then the stack does what `make up` does after a change
of `.env`: roles and users get their passwords, what uses a changed secret is restarted, the API
last. Killed at any point, `make up` or another `make rotate` goes on.
"""

import getpass
import json
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime

from readmit.client import access_keys
from readmit.command import EXPECTED
from readmit.inference import signatures
from readmit.inherited_environment import forget_the_shell
from readmit.settings import BadSetting, StackSettings, class_at, env_file, variable
from stack import (
    configuration,
    grafana_password,
    login_proxy,
    programs,
    readiness,
    set_up,
    superuser_password,
    up,
)
from stack.postgres import PostgresFailed
from stack.programs import reveal
from stack.progress import Progress
from stack.supervisor import Supervisor, SupervisorFailed

# With another key, rows of erased patients would not be recognised.
KEPT = {variable("erasure_key")}
GRAFANA = variable("grafana_admin_password")
API_KEY = variable("api_key")
SIGNING_KEY = variable("model_signing_key")
FERNET_KEY = variable("airflow_fernet_key")
# After the name of a key that is valid until the end of the day in which it was renewed.
BEFORE = "-before"


class NotRunning(Exception):
    """The stack does not run, so its programs cannot be given new passwords."""


def new_secrets(settings: StackSettings) -> dict[str, str]:
    """Return new values of all that `make up` generates, by variable.

    Keys that something was signed or encrypted with stay in their lists, behind the new ones.
    """
    values = {}
    for name, generate in configuration.GENERATORS.items():
        if name not in KEPT:
            values[name] = generate()
    fernet_key = reveal(settings.airflow_fernet_key).partition(",")[0]
    values[FERNET_KEY] = ",".join(filter(None, (values[FERNET_KEY], fernet_key)))
    private_key, public_key = signatures.generate_keys()
    trusted = filter(None, (public_key, settings.model_public_key))
    values[SIGNING_KEY] = private_key
    values[variable("model_public_key")] = ",".join(trusted)
    return values | _new_key_of_the_form(settings)


def _new_key_of_the_form(settings: StackSettings) -> dict[str, str]:
    """Return a new key for the web form, when it has one and READMIT_API_KEYS lists it.

    The one of before is valid until the end of the day (UTC).
    """
    entries = class_at("serving.api_settings:ServingSettings")().model_dump()["api_keys"]
    key = reveal(settings.api_key)
    if not key or not entries:
        return {}
    listed: list[access_keys.AccessKey] = []
    renewed: dict[str, str] = {}
    for entry in access_keys.parse(entries):
        if entry.sha256 == access_keys.sha256_of(key):
            renewed[API_KEY], own = access_keys.new(entry.name, entry.scopes, entry.last_day)
            today = datetime.now(UTC).date()
            last_day = min(today, entry.last_day or today)
            listed += [own, replace(entry, name=f"{entry.name}{BEFORE}", last_day=last_day)]
        elif not entry.name.endswith(BEFORE):
            listed.append(entry)
    if renewed:
        renewed[variable("api_keys")] = ",".join(entry.entry() for entry in listed)
    return renewed


def rotate(settings: StackSettings, progress: Progress) -> list[str]:
    """Renew every password and key of the running stack.

    Args:
        settings: with the passwords of before.
        progress: shows what is going on.

    Returns:
        The variables that have a new value.

    Raises:
        NotRunning: the stack does not run.
    """
    if "postgres" not in Supervisor(settings).running():
        raise NotRunning("the stack does not run: make up, then make rotate")
    is_serving = up.is_api_ready(settings.api_url)
    values = new_secrets(settings)
    configuration.write_private(
        settings.readmit_home / "fingerprint-key", programs.fingerprint_key(settings)
    )
    superuser_password.keep(settings)
    grafana_password.keep(settings)
    configuration.change_env(values)
    record = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": os.environ.get("SUDO_USER") or getpass.getuser(),
        "renewed": sorted(values),
    }
    with (settings.readmit_home / "log" / "rotations.log").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    apply(configuration.stack_settings(), progress, is_serving=is_serving)
    return sorted(values)


def apply(settings: StackSettings, progress: Progress, *, is_serving: bool) -> None:
    """Bring the stack to the passwords and keys of these settings, and wait until it runs.

    Args:
        settings: with the new passwords.
        progress: shows what is going on.
        is_serving: the API had a model before.
    """
    # Those that the stack signs itself: the start makes new ones.
    for name in ("s3-certificate.pem", "s3-key.pem"):
        (settings.readmit_home / name).unlink(missing_ok=True)
    if login_proxy.is_open(settings) and settings.proxy_certificate_file is None:
        (login_proxy.folder(settings) / "certificate.pem").unlink(missing_ok=True)
    supervisor = Supervisor(settings)
    listed = up.programs_to_start(settings)
    up.start_all(listed, settings, supervisor, progress)
    supervisor.reload("login-proxy")  # which reads its certificate then
    with progress.phase("encrypting Airflow's connections anew"):
        set_up.run(set_up.AIRFLOW_KEYS, settings)
    with progress.phase("waiting for everything"):
        readiness.wait(listed, settings, supervisor, up.SECONDS["rest"], progress.show)
        if is_serving:
            up.wait_for_model(settings, progress, up.SECONDS["model"])
    if not grafana_password.renew(settings):
        progress.console.print(
            f"Grafana does not answer, or has another password: it gets {GRAFANA} by the next"
            " `make up` that finds it running"
        )


def main() -> int:
    """Command line of `make rotate`."""
    os.umask(0o077)
    progress = Progress()
    try:
        renewed = rotate(configuration.stack_settings(), progress)
    except (
        *EXPECTED,
        BadSetting,
        NotRunning,
        PostgresFailed,
        SupervisorFailed,
        readiness.NotReady,
        up.CannotStart,
        set_up.SetUpFailed,
    ) as error:
        for line in str(error).splitlines():
            progress.error(line)
        progress.console.print("`make up` goes on where this stopped.")
        return 1
    print(f"renewed in {env_file()}: {', '.join(renewed)}")
    if API_KEY in renewed:
        print("The form's key of before is valid until midnight (UTC): see READMIT_API_KEYS.")
    print(
        f"Keep {SIGNING_KEY} and {variable('model_public_key')} in your vault (docs/security.md)."
    )
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
