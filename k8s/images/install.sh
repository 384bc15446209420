#!/bin/sh
# Build stage of every image: install what all parts share, and the named extras of pyproject.toml, into /opt/venv.
# Versions and hashes come from requirements.lock; a package that the lock does not have ends the build.
# uv reads its settings from pyproject.toml: what the lock leaves out is not asked for here either.
# The system's certificates are used, so a company's own registry works too.
set -eu
export UV_SYSTEM_CERTS=true UV_NATIVE_TLS=true UV_NO_CACHE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
extras=
for extra in "$@"; do
    extras="$extras --extra $extra"
done
python -m venv /opt/uv
# uv's own lines of the lock: pip takes hashes from a requirement, not from a constraint.
sed -n '/^uv==/,/# via/p' requirements.lock >/tmp/uv.txt
/opt/uv/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r /tmp/uv.txt
python -m venv --without-pip /opt/venv
# shellcheck disable=SC2086 # several words
/opt/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --require-hashes --only-binary :all: --compile-bytecode \
    --constraints requirements.lock --requirements pyproject.toml $extras
# The user of every image: some libraries ask for its name.
echo "readmit:x:10001:10001::/tmp:/usr/sbin/nologin" >>/etc/passwd
echo "readmit:x:10001:" >>/etc/group
