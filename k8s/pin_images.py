"""Pin the images of the production overlay by digest: `python -m k8s.pin_images`. Needs skopeo and the registries.

A tag can be moved to other bytes, a digest cannot. Run it when a version changes, and commit what it writes: upstream
images keep their tag, for the reader, beside the digest; of our own the digest takes the tag's place.
"""

import re
import sys
from pathlib import Path

import yaml

from k8s.cluster import ClusterFailed, kustomize, run
from readmit.settings import ROOT

OVERLAY = ROOT / "k8s" / "overlays" / "production"
ENTRIES = re.compile(r"(?m)^images:\n(?:  - .*\n)+")
UPSTREAM = re.compile(r"(?m)(?<= image: )([^\s@]+:[\w.-]+)(?:@sha256:[0-9a-f]{64})?$")


def rendered_images(overlay: Path) -> set[str]:
    """Return the images of the rendered overlay; the pod template's is the scheduler's."""
    documents = [
        each for each in yaml.safe_load_all(kustomize(overlay)) if each["kind"] != "ConfigMap"
    ]
    return set(re.findall(r"(?m)^\s*(?:- )?image: (\S+)$", yaml.safe_dump_all(documents)))


def digest(image: str) -> str:
    """Return the digest that a registry gives for an image.

    Raises:
        ClusterFailed: skopeo is missing, or the registry does not know the image.
    """
    return run("skopeo", "inspect", "--format={{.Digest}}", f"docker://{image}").strip()


def tagged(images: set[str]) -> set[str]:
    """Return the images with their tags; what has a digest only is left out."""
    names = (image.partition("@")[0] for image in images)
    return {name for name in names if ":" in name.rpartition("/")[2]}


def pinned(text: str, digests: dict[str, str]) -> str:
    """Return the kustomization with a digest for each of its images; `digests` maps tagged images to digests."""
    entries = list(yaml.safe_load(text)["images"])
    for entry in entries:
        if found := digests.get(f"{entry.get('newName', entry['name'])}:{entry.get('newTag')}"):
            entry.pop("newTag")
            entry["digest"] = found
    lines = [
        yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=1000).strip()
        for entry in entries
    ]
    return ENTRIES.sub("images:\n" + "".join(f"  - {line}\n" for line in lines), text)


def with_digests(manifest: str, digests: dict[str, str]) -> str:
    """Return a manifest whose images have their digests behind the tag, as far as `digests` has them."""
    return UPSTREAM.sub(
        lambda found: f"{found[1]}@{digests[found[1]]}" if found[1] in digests else found[0],
        manifest,
    )


def main() -> int:
    """Command line."""
    path = OVERLAY / "kustomization.yaml"
    try:
        found = {image: digest(image) for image in sorted(tagged(rendered_images(OVERLAY)))}
    except ClusterFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    path.write_text(pinned(path.read_text(encoding="utf-8"), found), encoding="utf-8")
    for manifest in (ROOT / "k8s").rglob("*.yaml"):
        text = manifest.read_text(encoding="utf-8")
        if (changed := with_digests(text, found)) != text:
            manifest.write_text(changed, encoding="utf-8")
    print(f"{len(found)} images are pinned")
    return 0


if __name__ == "__main__":
    sys.exit(main())
