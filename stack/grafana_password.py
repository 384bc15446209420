"""A new password for Grafana's admin: its database keeps the first one, whatever its settings say.

`make rotate` keeps the password of before in a file until Grafana has taken the new one. So when
something is killed meanwhile, or Grafana does not run, the next `make up` or `make rotate` goes on.
"""

from pathlib import Path

import httpx

from readmit.settings import StackSettings
from stack.configuration import write_private
from stack.programs import reveal

SECONDS_TO_ANSWER = 20


def keep(settings: StackSettings) -> None:
    """Keep the password of these settings until `renew`; one that is kept already stays."""
    path = _file(settings)
    password = reveal(settings.grafana_admin_password)
    if password and not path.is_file():
        write_private(path, password)


def renew(settings: StackSettings) -> bool:
    """Give Grafana the password of the settings when the one of before is kept.

    Returns:
        Whether Grafana has it; False when it does not answer, or has neither of the two.
    """
    path = _file(settings)
    if not path.is_file():
        return True
    before = path.read_text(encoding="utf-8")
    password = reveal(settings.grafana_admin_password)
    url = f"http://127.0.0.1:{settings.grafana_port}/api/user"
    try:
        with httpx.Client(timeout=SECONDS_TO_ANSWER, trust_env=False) as client:
            has_new = client.get(url, auth=("admin", password)).is_success
            if not has_new:
                has_new = client.put(
                    f"{url}/password",
                    json={"oldPassword": before, "newPassword": password},
                    auth=("admin", before),
                ).is_success
    except httpx.HTTPError:
        return False
    if has_new:
        path.unlink()
    return has_new


def _file(settings: StackSettings) -> Path:
    return settings.readmit_home / "grafana-password-before"
