"""Who holds which secret: the table of docs/architecture.md, which tests compare programs and pods with."""

import re

from readmit import storage
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
            held.add(f"{role.upper()}_PASSWORD")
        for identity in re.findall(r"\w+", identities):
            held |= set(storage.variables(identity))
        table[name] = held
    return table
