#!/bin/sh
# Write what depends on the cluster's settings and Secrets beside each other, then run PgBouncer on the mounted file.
set -eu
umask 077
cd "${PGBOUNCER_FOLDER:-/tmp}"

login() {
    # A quote in a password is written twice.
    printf '"%s" "%s"\n' "$1" "$(printf '%s' "$2" | sed 's/"/""/g')"
}
{
    login airflow "$READMIT_AIRFLOW_PASSWORD"
    login reader "$READMIT_READER_PASSWORD"
    login serving "$READMIT_SERVING_PASSWORD"
} >userlist.txt

{
    echo "[databases]"
    for database in airflow "$READMIT_CLEAN_DATABASE" "$READMIT_RAW_DATABASE"; do
        echo "$database = host=$READMIT_POSTGRES_HOST port=$READMIT_POSTGRES_PORT"
    done
} >databases.ini

# Without a section: a second [pgbouncer] would set all options of the first one back.
{
    echo "server_tls_sslmode = $READMIT_PGSSLMODE"
    case "$READMIT_PGSSLMODE" in
        verify-*) echo "server_tls_ca_file = $READMIT_PGSSLROOTCERT" ;;
    esac
} >tls.ini

exec pgbouncer "$@"
