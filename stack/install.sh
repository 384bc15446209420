#!/usr/bin/env bash
# Install the locked environment into .venv, unless it is there: every package by hash, from the configured registry.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3.11}
stamp=.venv/.lock-sha256

fail() {
    echo "error: $1" >&2
    exit 1
}

lock=$(sha256sum requirements.lock | cut -d' ' -f1)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$lock" ] && .venv/bin/python -c '' 2>/dev/null; then
    exit 0
fi

command -v "$python" >/dev/null || fail "$python is missing: apt-get install python3.11 python3.11-venv, or set PYTHON=path"
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || fail "$python is not Python 3.11: set PYTHON=path"
# 3 GB for the packages; what `make up` asks for next is told now, not after minutes of installing.
need=9
if [ -x .venv/bin/python ]; then need=3; fi
free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1000000) }')
[ "$free" -ge "$need" ] || fail "$free GB are free at $PWD, $need GB are needed: free some"

if ! .venv/bin/python -c '' 2>/dev/null; then
    rm -rf .venv
    "$python" -m venv .venv || fail "no virtual environment can be made: apt-get install python3.11-venv"
fi
echo "installing the locked environment (minutes the first time, seconds when packages are cached)"
if ! .venv/bin/python -m uv --version >/dev/null 2>&1; then
    # uv's own lines of the lock, hashes included; nothing else of the lock is needed yet.
    only_uv=$(mktemp)
    trap 'rm -f "$only_uv"' EXIT
    sed -n "/^uv==/,/# via/p" requirements.lock >"$only_uv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$only_uv" ||
        fail "uv cannot be installed: is the package registry reachable (pip config list)?"
fi
# Trust what the machine trusts: company networks have certificates of their own.
export UV_SYSTEM_CERTS=1
.venv/bin/python -m uv pip sync --quiet --python .venv/bin/python --require-hashes requirements.lock ||
    fail "the environment could not be installed: the line above says why"
echo "$lock" >"$stamp"
