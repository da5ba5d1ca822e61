#!/usr/bin/env bash
# Makes a machine ready to build and test: installs what is missing where that is possible, otherwise says what to install.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

missing=()
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || missing+=(postgresql)
command -v psql >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/psql' >/dev/null || missing+=(postgresql-client)
# Debian only recommends the C library's headers beside gcc, and nothing is installed because it is recommended.
if ! command -v cc >/dev/null; then
  missing+=(gcc libc6-dev)
elif ! printf '#include <stdio.h>\n' | cc -E - >/dev/null 2>&1; then
  missing+=(libc6-dev)
fi
# What pipelines call: the demo and a scenario do as they do.
for tool in curl jq; do command -v $tool >/dev/null || missing+=("$tool"); done
command -v setsid >/dev/null && command -v setpriv >/dev/null || missing+=(util-linux)
if [ ${#missing[@]} -gt 0 ]; then
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "meridian: installing ${missing[*]}" >&2
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
  else
    echo "meridian: please install ${missing[*]}; on Debian: sudo apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi
command -v cargo >/dev/null || { echo "meridian: Rust is missing: https://rustup.rs" >&2; exit 1; }
bash "$here/build.sh" >/dev/null
