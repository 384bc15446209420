"""Who holds which secret: the table of docs/architecture.md.

Tests compare programs and pods with it.
"""

import re

from readmit import storage
from readmit.settings import StackSettings, variable
from tests.support.k8s import ROOT

ROW = re.compile(r"^\| `([\w-]+)` \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)


def secrets_of_programs() -> dict[str, set[str]]:
    """Return the names of the secret settings of each row."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition("## Who holds which secret")[2]
    table = {}
    for name, roles, identities, others in ROW.findall(section):
        held = set(re.findall(r"`(\w+)`", others))
        for role in re.findall(r"\w+", roles):
            held.add(variable(f"{role}_password"))
        for identity in re.findall(r"\w+", identities):
            held |= set(map(variable, storage.variables(identity)))
        table[name] = held
    return table


def in_pod_of(kind: str, settings: StackSettings) -> StackSettings:
    """Return the settings without the secrets that a pod of this kind of task lacks."""
    held = secrets_of_programs()[f"airflow-task-{kind}"]
    lacking = {}
    for name, field in StackSettings.model_fields.items():
        is_secret = "SecretStr" in str(field.annotation) or name.endswith("_access_key_id")
        if is_secret and variable(name) not in held:
            lacking[name] = None
    return settings.model_copy(update=lacking)
