#!/usr/bin/env bash
# Build every overlay and the combinations of components, and check them: make k8s.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v kubectl >/dev/null || {
    echo "error: kubectl is missing: it builds the manifests (https://kubernetes.io/docs/tasks/tools/)" >&2
    exit 1
}
for overlay in k8s/overlays/*/; do
    echo "$overlay: $(kubectl kustomize "$overlay" | grep -c '^kind:') resources"
done
PYTHONPATH="$PWD" exec .venv/bin/python -m pytest -q -n "${WORKERS:-2}" tests/contract/k8s tests/unit/k8s
