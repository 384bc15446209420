#!/usr/bin/env bash
# Install the locked environment into .venv, unless it is there: every package by hash, from the configured registry.
#
# Python is $PYTHON, else the first of the PATH that fits, else one that uv fetches.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/.lock-sha256
scratch=

fail() {
    echo "error: $1" >&2
    exit 1
}

remove_scratch() {
    [ -z "$scratch" ] || rm -rf "$scratch"
}
trap remove_scratch EXIT

# Whether a program is a Python that the lock is made for, with what a virtual environment needs.
fits() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" || fail "$PYTHON is not Python 3.11, 3.12 or 3.13 with its module venv: set PYTHON=path"
        echo "$PYTHON"
        return
    fi
    for candidate in python3.11 python3.12 python3.13 python3; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
}

# Install uv for `$1`, a Python with pip: uv's own lines of the lock, hashes included.
install_uv() {
    scratch=${scratch:-$(mktemp -d)}
    sed -n "/^uv==/,/# via/p" requirements.lock >"$scratch/uv.txt"
    "$1" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$scratch/uv.txt" ||
        fail "uv cannot be installed: is the package registry reachable (pip config list)?"
}

# Print a uv that works without a fitting Python: that of the PATH, or one that any other Python installs.
uv_without_python() {
    if command -v uv; then
        return
    fi
    python3 -m venv "$scratch/venv" >/dev/null 2>&1 ||
        fail "there is no Python 3.11, 3.12 or 3.13: apt-get install python3 python3-venv, or install uv, which fetches one, or set PYTHON=path"
    install_uv "$scratch/venv/bin/python" >&2
    echo "$scratch/venv/bin/uv"
}

lock=$(sha256sum requirements.lock | cut -d' ' -f1)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$lock" ] && .venv/bin/python -c '' 2>/dev/null; then
    exit 0
fi

# 3 GB for the packages; what `make up` asks for next is told now, not after minutes of installing.
need=9
if [ -x .venv/bin/python ]; then need=3; fi
free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1000000) }')
[ "$free" -ge "$need" ] || fail "$free GB are free at $PWD, $need GB are needed: free some"

# Trust what the machine trusts: company networks have certificates of their own.
export UV_SYSTEM_CERTS=1
if ! .venv/bin/python -c '' 2>/dev/null; then
    rm -rf .venv
    python=$(find_python)
    if [ -n "$python" ]; then
        "$python" -m venv .venv || fail "no virtual environment can be made: apt-get install python3-venv"
    else
        scratch=$(mktemp -d)
        uv=$(uv_without_python)
        echo "there is no Python 3.11, 3.12 or 3.13 on this machine: uv fetches one"
        "$uv" venv --quiet --seed --managed-python --python 3.11 .venv ||
            fail "uv could not fetch Python (the line above says why): apt-get install python3 python3-venv, or set PYTHON=path, or UV_PYTHON_INSTALL_MIRROR=url of a mirror"
    fi
fi
if [ -f "$stamp" ]; then
    # A running stack: Airflow and MLflow must not find other packages at their next import.
    PYTHONPATH=$PWD .venv/bin/python -m stack.prepare_upgrade 2>/dev/null || echo "nothing was stopped before the packages change"
fi
echo "installing the locked environment (minutes the first time, seconds when packages are cached)"
.venv/bin/python -m uv --version >/dev/null 2>&1 || install_uv .venv/bin/python
.venv/bin/python -m uv pip sync --quiet --python .venv/bin/python --require-hashes requirements.lock ||
    fail "the environment could not be installed: the line above says why"
echo "$lock" >"$stamp"
