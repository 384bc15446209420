#!/usr/bin/env bash
# Build the images, one after the other: `k8s/build-images.sh` for all, `k8s/build-images.sh serving ui` for some.
# ENGINE=docker|podman (default: the first that works), REGISTRY=localhost/readmit, BASE=an image of Python 3.11.
# Prints each image's size and fails when one is over its limit.
set -euo pipefail
cd "$(dirname "$0")/.."

REGISTRY=${REGISTRY:-localhost/readmit}
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml | head -1)
REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)
declare -A DOCKERFILE=(
    [postgres]=k8s/images/postgres/Dockerfile [s3]=k8s/images/s3/Dockerfile [mlflow]=k8s/images/mlflow/Dockerfile
    [pipeline]=dags/Dockerfile [serving]=serving/Dockerfile [ui]=ui/Dockerfile [docs-site]=k8s/images/docs-site/Dockerfile
    [notebook]=k8s/images/notebook/Dockerfile
    [pgbouncer]=k8s/images/pgbouncer/Dockerfile
    [login-proxy]=k8s/images/login-proxy/Dockerfile [prometheus]=k8s/images/prometheus/Dockerfile [locust]=locust/Dockerfile
)
ORDER=(postgres s3 mlflow serving ui docs-site login-proxy pgbouncer prometheus locust pipeline notebook)
# Megabytes. A part that grows past its limit pulled in something that it should not.
declare -A LIMIT=([serving]=600 [pipeline]=2500)

engine() {
    for candidate in ${ENGINE:-docker podman}; do
        if "$candidate" info >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    echo "error: neither docker nor podman works here: install one, or set ENGINE" >&2
    return 1
}

ENGINE=$(engine)
options=()
[ "$ENGINE" = podman ] && options+=(--format docker) # the OCI format drops HEALTHCHECK
[ "$ENGINE" = podman ] && [ -n "${BASE:-}${OFFLINE:-}" ] && options+=(--pull=never)
[ -n "${BASE:-}" ] && options+=(--build-arg "BASE=$BASE")
[ -n "${BUILD_NETWORK:-}" ] && options+=(--network "$BUILD_NETWORK")
# What a Dockerfile cannot know. Labels given here are the last layer: a new commit does not build the others anew.
labels=(--label "org.opencontainers.image.version=$VERSION" --label "org.opencontainers.image.revision=$REVISION"
    --label "org.opencontainers.image.licenses=$(sed -n 's/^license = "\(.*\)"/\1/p' pyproject.toml)")
# A copy of what .dockerignore lets in, readable by all: images run as users of their own, and the files of a checkout
# made under a strict umask are closed to them.
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
mapfile -t parts < <(sed -n 's/^!//p' .dockerignore)
(umask 022 && tar --create --mode=a+rX --exclude=__pycache__ --exclude=dbt_project/target --exclude=dbt_project/logs \
    .dockerignore "${parts[@]}" | tar --extract --directory "$context")
failed=0
for name in "${@:-${ORDER[@]}}"; do
    tag="$REGISTRY/$name:$VERSION"
    echo "== $tag"
    own=()
    [[ "$name" = pipeline || "$name" = notebook ]] && own=(--build-arg "REVISION=$REVISION") # its models say which commit fitted them
    "$ENGINE" build --quiet "${options[@]}" "${labels[@]}" "${own[@]}" \
        -f "${DOCKERFILE[$name]:?no image of that name}" -t "$tag" "$context"
    megabytes=$(($("$ENGINE" image inspect --format '{{.Size}}' "$tag") / 1000000))
    limit=${LIMIT[$name]:-}
    echo "   $megabytes MB${limit:+ of at most $limit}"
    if [ -n "$limit" ] && [ "$megabytes" -gt "$limit" ]; then
        echo "error: $tag is over its limit" >&2
        failed=1
    fi
done
exit "$failed"
