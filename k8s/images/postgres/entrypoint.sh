#!/bin/sh
# Create the cluster when there is none, then serve. It is created in another folder and moved: an interrupted start
# leaves nothing that looks like a cluster, and an existing cluster is never removed.
set -eu
[ "${1:-postgres}" = postgres ] || exec "$@"
if [ ! -e "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?POSTGRES_PASSWORD is not set}"
    new="$PGDATA.new"
    rm -rf "$new"
    mkdir -p "$(dirname "$PGDATA")"
    printf '%s' "$POSTGRES_PASSWORD" >/tmp/pw
    # Several options in one variable, as in the upstream image.
    # shellcheck disable=SC2086
    initdb -D "$new" -U postgres --pwfile=/tmp/pw --encoding=UTF8 --locale=C.UTF-8 --auth=scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
    rm /tmp/pw
    echo "host all all all scram-sha-256" >>"$new/pg_hba.conf"
    mv -T "$new" "$PGDATA" # refuses a folder that holds files
fi
# A volume's group rights, which Kubernetes renews at each mount, are too wide for the server.
chmod 700 "$PGDATA"
[ $# -gt 0 ] && shift
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
