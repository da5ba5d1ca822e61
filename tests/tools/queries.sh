#!/usr/bin/env bash
# Checks every query of crates/store against the migrated schema and writes what the build checks them by (.sqlx).
# usage: queries.sh [--check]; with --check nothing is written, and a difference is an error.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=$(dirname "$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1 || command -v initdb)")
work=$(mktemp -d)
owner=()
if [ "$(id -u)" = 0 ]; then
  chown postgres "$work"
  owner=(setpriv --reuid postgres --regid postgres --clear-groups)
fi
cleanup() {
  [ -f "$work/data/postmaster.pid" ] && (cd / && "${owner[@]}" "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null)
  rm -rf "$work"
}
trap cleanup EXIT
cd /
"${owner[@]}" "$bin/initdb" -D "$work/data" -U meridian -A trust -E UTF8 --no-sync >/dev/null
"${owner[@]}" "$bin/pg_ctl" -D "$work/data" -w -l "$work/data/log" \
  -o "-c listen_addresses= -c unix_socket_directories=$work -c fsync=off" start >/dev/null
cd "$root"
for migration in migrations/*.sql; do
  "$bin/psql" -XqA -v ON_ERROR_STOP=1 -h "$work" -U meridian -d postgres -f "$migration"
done
mkdir "$work/queries"
touch crates/store/src/lib.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$work/queries DATABASE_URL="postgres://meridian@localhost/postgres?host=$work" \
  cargo check --locked -q -p store
if [ "${1:-}" = --check ]; then
  diff -rq .sqlx "$work/queries" || { echo "meridian: .sqlx does not fit the queries or the schema; run \`make queries\`" >&2; exit 1; }
else
  mkdir -p .sqlx
  rm -f .sqlx/*.json
  cp "$work"/queries/*.json .sqlx/
  chmod 644 .sqlx/*.json
fi
