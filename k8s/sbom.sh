#!/usr/bin/env bash
# Print the software bill of materials (CycloneDX 1.5) of the whole lock, or of one image:
# k8s/sbom.sh [--project FOLDER] [EXTRA ...]
# uv exports it from a lock of its own, made in a temporary project with the versions of requirements.lock. That lock
# records the addresses of the registry, so it is not kept. With --project it is made in this folder, or is there
# already: who wants several bills has it made once. Known weaknesses: `python -m k8s.audit`.
set -euo pipefail
cd "$(dirname "$0")/.."
export UV_SYSTEM_CERTS=1
uv=$PWD/.venv/bin/uv
if [ "${1-}" = --project ]; then
    project=$2
    shift 2
else
    project=$(mktemp -d)
    trap 'rm -rf "$project"' EXIT
fi

{
    echo "environments = [\"sys_platform == 'linux' and platform_machine == '$(uname -m)' and python_version == '3.11'\"]"
    echo "constraint-dependencies = ["
    sed -nE 's/^([a-z0-9][a-z0-9._-]*)(\[[^]]*\])?(==[^ ]+).*/    "\1\3",/p' requirements.lock
    echo "]"
} >"$project/versions.toml"
sed "/^\[tool\.uv\]$/r $project/versions.toml" pyproject.toml >"$project/pyproject.toml"

chosen=(--all-extras)
if [ $# -gt 0 ]; then
    chosen=("${@/#/--extra=}")
fi
"$uv" export --quiet --project "$project" --no-dev --format cyclonedx1.5 "${chosen[@]}"
