#!/bin/sh
# Build stage of every image: install a part of the lock into /opt/venv, every file checked by hash.
# Arguments: those of requirements.py. The system's certificates are used, so a company's own registry works too.
set -eu
export UV_SYSTEM_CERTS=true UV_NATIVE_TLS=true UV_NO_CACHE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_NO_CONFIG=1
here=$(dirname "$0")
python -m venv /opt/uv
python "$here/requirements.py" --package uv >/tmp/uv.txt
/opt/uv/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r /tmp/uv.txt
python -m venv --without-pip /opt/venv
python "$here/requirements.py" "$@" >/tmp/requirements.txt
/opt/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --no-deps --require-hashes --only-binary :all: \
    --compile-bytecode -r /tmp/requirements.txt
# The user of every image: some libraries ask for its name.
echo "readmit:x:10001:10001::/tmp:/usr/sbin/nologin" >>/etc/passwd
echo "readmit:x:10001:" >>/etc/group
