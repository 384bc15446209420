"""Replace the tags of the production overlay by digests: `python -m k8s.pin_images`. Needs skopeo and the registries.

A tag can be moved to other bytes, a digest cannot. Run it when a version changes, and commit what it writes.
"""

import re
import sys
from pathlib import Path

import yaml

from k8s.cluster import ClusterFailed, kustomize, run
from readmit.settings import ROOT

OVERLAY = ROOT / "k8s" / "overlays" / "production"
ENTRIES = re.compile(r"(?m)^images:\n(?:  - .*\n)+")


def rendered_images(overlay: Path) -> set[str]:
    """Return the images of the rendered overlay; the pod template's is the scheduler's."""
    documents = [each for each in yaml.safe_load_all(kustomize(overlay)) if each["kind"] != "ConfigMap"]
    return set(re.findall(r"(?m)^\s*(?:- )?image: (\S+)$", yaml.safe_dump_all(documents)))


def digest(image: str) -> str:
    """Return the digest that a registry gives for an image.

    Raises:
        ClusterFailed: skopeo is missing, or the registry does not know the image.
    """
    return run("skopeo", "inspect", "--format={{.Digest}}", f"docker://{image}").strip()


def pinned(text: str, digests: dict[str, str]) -> str:
    """Return the kustomization with a digest for each image; `digests` maps repositories to digests."""
    entries = list(yaml.safe_load(text)["images"])
    renamed = {entry.get("newName", entry["name"]) for entry in entries}
    entries += [{"name": name} for name in sorted(digests.keys() - renamed)]
    for entry in entries:
        if found := digests.get(entry.get("newName", entry["name"])):
            entry.pop("newTag", None)
            entry["digest"] = found
    lines = [yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=1000).strip() for entry in entries]
    return ENTRIES.sub("images:\n" + "".join(f"  - {line}\n" for line in lines), text)


def main() -> int:
    """Command line."""
    path = OVERLAY / "kustomization.yaml"
    try:
        found = {
            image.partition("@")[0].rpartition(":")[0]: digest(image) for image in sorted(rendered_images(OVERLAY))
        }
    except ClusterFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    path.write_text(pinned(path.read_text(encoding="utf-8"), found), encoding="utf-8")
    print(f"{len(found)} images are pinned in {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
