#!/bin/sh
# Creates the database's files if there are none, and runs the server. Any other command is run unchanged.
set -eu
if [ "$1" = postgres ] && [ ! -f "$PGDATA/PG_VERSION" ]; then
    password=$(mktemp)
    printf '%s\n' "$POSTGRES_PASSWORD" > "$password"
    initdb --pgdata="$PGDATA" --username=postgres --locale=C --encoding=UTF8 --auth=scram-sha-256 --pwfile="$password"
    rm "$password"
    printf 'host all all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"
    printf "listen_addresses = '*'\nunix_socket_directories = '/tmp'\njit = off\n" >> "$PGDATA/postgresql.conf"
fi
exec "$@"
