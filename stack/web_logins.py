"""Log-ins of Pushgateway, Alertmanager and the exporters, which each checks by itself (basic auth).

Without them every user of the machine, and every web page that one of them visits, could forge
figures and silence alerts. Prometheus asks nobody: it only shows figures.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from readmit.settings import PUSHGATEWAY_USER, StackSettings

USER = PUSHGATEWAY_USER
# Two to the power of this many rounds; the generated passwords have 144 bits.
BCRYPT_COST = 5
PUSHGATEWAY = "pushgateway"
# Prometheus and the watchdog alone talk to these, so they share a password.
MONITORING = "monitoring"
LOGIN_OF: Mapping[str, str] = {
    "pushgateway": PUSHGATEWAY,
    "node-exporter": MONITORING,
    "postgres-exporter": MONITORING,
    "blackbox-exporter": MONITORING,
    "alertmanager": MONITORING,
}


def _password(login: str, settings: StackSettings) -> SecretStr | None:
    if login == PUSHGATEWAY:
        return settings.pushgateway_password
    return settings.monitoring_password


def login_of(program: str, settings: StackSettings) -> tuple[str, str] | None:
    """Return name and password that a program asks for, or None when it asks nobody."""
    if program not in LOGIN_OF:
        return None
    password = _password(LOGIN_OF[program], settings)
    if password is None:
        return None
    return USER, password.get_secret_value()


def options(program: str, settings: StackSettings) -> tuple[str, ...]:
    """Return the option of the command line that names a program's file of users."""
    if login_of(program, settings) is None:
        return ()
    return (f"--web.config.file={_users_file(LOGIN_OF[program], settings)}",)


def scrape_login(program: str, settings: StackSettings) -> dict[str, str] | None:
    """Return Prometheus' `basic_auth` for a program, or None when that asks nobody.

    Prometheus reads the file at each request, so a new password needs no restart.
    """
    if login_of(program, settings) is None:
        return None
    return {"username": USER, "password_file": str(_password_file(LOGIN_OF[program], settings))}


def files(settings: StackSettings) -> dict[Path, str]:
    """Return the texts of the files of users, which have hashes, and of Prometheus' passwords."""
    import bcrypt  # without it everything runs but monitoring

    texts = {}
    for login in (PUSHGATEWAY, MONITORING):
        password = _password(login, settings)
        if password is not None:
            secret = password.get_secret_value()
            digest = bcrypt.hashpw(secret.encode(), bcrypt.gensalt(BCRYPT_COST)).decode()
            users = f'basic_auth_users: {{"{USER}": "{digest}"}}\n'
            texts[_users_file(login, settings)] = users
            texts[_password_file(login, settings)] = secret
    return texts


def folder(settings: StackSettings) -> Path:
    """Return the folder of the files."""
    return settings.readmit_home / "web-logins"


def _users_file(login: str, settings: StackSettings) -> Path:
    return folder(settings) / f"{login}.yml"


def _password_file(login: str, settings: StackSettings) -> Path:
    return folder(settings) / f"{login}.password"
