"""The software bill of materials of the lock, as CycloneDX 1.6: `python -m k8s.sbom [EXTRA] > build/sbom.json`.

With an extra only what that part's image installs. Known weaknesses: `python -m k8s.audit`.
"""

import json
import re
import sys
import tomllib
from typing import Any

from k8s.images import requirements
from readmit.settings import ROOT


def component(name: str, block: str) -> dict[str, Any]:
    """Return one package as a component with every hash that the lock accepts."""
    version = block.split("==", 1)[1].split(maxsplit=1)[0].rstrip("\\")
    purl = f"pkg:pypi/{name}@{version}"
    hashes = [
        {"alg": "SHA-256", "content": digest}
        for digest in re.findall(r"sha256:([0-9a-f]{64})", block)
    ]
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "hashes": hashes,
    }


def bill(extra: str | None = None) -> dict[str, Any]:
    """Return the bill of the whole lock, or of one image's part."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = requirements.blocks((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    names = set(lock)
    if extra:
        core = {requirements.canonical(line) for line in project["dependencies"]}
        names = requirements.closure(core | requirements.declared(project, extra), lock)
    parents = {name: requirements.parents(lock[name]) & names for name in names}
    components = {name: component(name, lock[name]) for name in sorted(names)}
    needs = [
        {
            "ref": components[name]["bom-ref"],
            "dependsOn": [
                components[child]["bom-ref"] for child in sorted(names) if name in parents[child]
            ],
        }
        for name in components
    ]
    about = {"component": {"type": "application", "name": "readmit", "version": project["version"]}}
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": about}
    return head | {"components": list(components.values()), "dependencies": needs}


if __name__ == "__main__":
    json.dump(bill(sys.argv[1] if len(sys.argv) > 1 else None), sys.stdout, indent=1)
