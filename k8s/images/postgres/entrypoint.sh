#!/bin/sh
# Create the cluster when there is none: all of it or nothing, so that an interrupted start is made anew. Then serve.
set -eu
[ "${1:-postgres}" = postgres ] || exec "$@"
made="$PGDATA.made"
if [ ! -f "$made" ]; then
    : "${POSTGRES_PASSWORD:?POSTGRES_PASSWORD is not set}"
    rm -rf "$PGDATA"
    mkdir -p "$(dirname "$PGDATA")"
    printf '%s' "$POSTGRES_PASSWORD" >/tmp/pw
    # shellcheck disable=SC2086 (several options in one variable, as in the upstream image)
    initdb -D "$PGDATA" -U postgres --pwfile=/tmp/pw --encoding=UTF8 --locale=C.UTF-8 --auth=scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
    rm /tmp/pw
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    touch "$made"
fi
# A volume's group rights, which Kubernetes renews at each mount, are too wide for the server.
chmod 700 "$PGDATA"
[ $# -gt 0 ] && shift
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
