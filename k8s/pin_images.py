"""Pin the images of the production overlay by digest: `python -m k8s.pin_images`.

Needs skopeo and the registries.

A tag can be moved to other bytes, a digest cannot. Run it when a version changes, and commit what
it writes. Upstream images keep their tag, for the reader, in front of the digest; our own have the
digest only.
"""

import re
import sys
from pathlib import Path

import yaml

from k8s.cluster import ClusterFailed, run
from k8s.overlays import kustomize
from readmit.settings import ROOT

OVERLAY = ROOT / "k8s" / "overlays" / "production"
ENTRIES = re.compile(r"(?m)^images:\n(?:  - .*\n)+")
IMAGE = re.compile(r"(?m)^\s*(?:- )?image: (\S+)$")
UPSTREAM = re.compile(r"(?m)(?<= image: )([^\s@]+:[\w.-]+)(?:@sha256:[0-9a-f]{64})?$")


def rendered_images(overlay: Path) -> set[str]:
    """Return the images of the rendered overlay; the pod template's is the scheduler's."""
    images: set[str] = set()
    for resource in yaml.safe_load_all(kustomize(overlay)):
        if resource["kind"] != "ConfigMap":
            images |= set(IMAGE.findall(yaml.safe_dump(resource)))
    return images


def digest(image: str) -> str:
    """Return the digest that a registry gives for an image.

    Raises:
        ClusterFailed: skopeo is missing, or the registry does not know the image.
    """
    return run("skopeo", "inspect", "--format={{.Digest}}", f"docker://{image}").strip()


def tagged(images: set[str]) -> set[str]:
    """Return the images with their tags; images that have a digest only are left out."""
    names = [image.partition("@")[0] for image in images]
    return {name for name in names if ":" in name.rpartition("/")[2]}


def pinned(text: str, digests: dict[str, str]) -> str:
    """Return the kustomization with a digest for each of its images.

    `digests` maps tagged images to digests.
    """
    lines = ["images:\n"]
    for entry in yaml.safe_load(text)["images"]:
        image = f"{entry.get('newName', entry['name'])}:{entry.get('newTag')}"
        if image in digests:
            entry.pop("newTag")
            entry["digest"] = digests[image]
        line = yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=1000)
        lines.append(f"  - {line.strip()}\n")
    return ENTRIES.sub("".join(lines), text)


def with_digests(manifest: str, digests: dict[str, str]) -> str:
    """Return a manifest with the digests of its images behind their tags.

    An image that `digests` does not have stays as it is.
    """

    def with_digest(match: re.Match[str]) -> str:
        image = match[1]
        return f"{image}@{digests[image]}" if image in digests else match[0]

    return UPSTREAM.sub(with_digest, manifest)


def main() -> int:
    """Pin every image, or none when one cannot be looked up."""
    path = OVERLAY / "kustomization.yaml"
    digests = {}
    try:
        for image in sorted(tagged(rendered_images(OVERLAY))):
            digests[image] = digest(image)
    except ClusterFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    path.write_text(pinned(path.read_text(encoding="utf-8"), digests), encoding="utf-8")
    for manifest in (ROOT / "k8s").rglob("*.yaml"):
        text = manifest.read_text(encoding="utf-8")
        changed = with_digests(text, digests)
        if changed != text:
            manifest.write_text(changed, encoding="utf-8")
    print(f"{len(digests)} images are pinned")
    return 0


if __name__ == "__main__":
    sys.exit(main())
