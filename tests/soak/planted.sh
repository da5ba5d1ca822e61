#!/usr/bin/env bash
# Plants one bug after the other into a copy of the last commit, and runs the test that must find the bug. The test is the
# soak with a seed in which the bug matters, the model of random edits, or the model's comparison with PostgreSQL.
# usage: planted.sh [--check] [PLANT…]; --check only checks that every patch applies to the sources.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
plants=$root/tests/soak/plants

# Rule whose violation the soak must report, and the seed of the run.
declare -A rule=(
  [fence-is-dropped]=Agreement
  [fence-stands-still]=Fenced
  [lower-before-raise]=NeverBelow
  [absent-is-deleted]=DisconnectIsNotDelete
  [stale-is-zero]=StaleIsStale
)
declare -A seed=(
  [fence-is-dropped]=1
  [fence-stands-still]=1
  [lower-before-raise]=4
  [absent-is-deleted]=2
  [stale-is-zero]=3
)
# Model test that must fail.
random=random_edits_lose_double_and_forget_nothing
mirror=model_rows_equal_those_that_sql_writes
declare -A model=(
  [rename-begins-anew]=$random
  [nameless-count-nothing]=$random
  [floors-are-dropped]=$random
  [scopes-are-strangers]=$random
  [empty-cell-ends-sets]=$random
  [sets-take-over-at-once]=$random
  [problems-are-forgotten]=$random
  [base-is-not-compared]=$mirror
  [bookings-are-not-compared]=$mirror
  [old-reservations-stay]=$mirror
)

cd "$root"
if [ "${1:-}" = --check ]; then
  for plant in "${!rule[@]}" "${!model[@]}"; do
    git apply --check "$plants/$plant.patch" || { echo "meridian: $plant.patch does not fit the sources any more" >&2; exit 1; }
  done
  exit
fi
[ $# -gt 0 ] || set -- $(printf '%s\n' "${!rule[@]}" "${!model[@]}" | sort)

# The folder is always the same, so that the build of one plant serves the next one.
copy=$root/target/planted/sources
mkdir -p "$root/target/planted"
git worktree remove --force "$copy" 2>/dev/null || true
trap 'cd "$root" && git worktree remove --force "$copy"' EXIT
git worktree add -q --detach "$copy" HEAD
cd "$copy"
missed=()
for plant; do
  echo "== $plant: $(head -n 1 "$plants/$plant.patch")"
  git checkout -q .
  git apply "$plants/$plant.patch"
  log=$root/target/planted/$plant.log
  # The run must fail, so its exit code is ignored and its log is searched.
  if [ -n "${model[$plant]:-}" ]; then
    CARGO_TARGET_DIR=$root/target/planted SQLX_OFFLINE=true MODEL_SEED=1 MIRROR_SEQUENCES=200 \
      cargo test --locked -p delivery --lib -- "${model[$plant]}" >"$log" 2>&1 || true
    found="MODEL_SEED=[0-9]*: "
  else
    CARGO_TARGET_DIR=$root/target/planted SEEDS=${seed[$plant]} make soak >"$log" 2>&1 || true
    found="VIOLATION ${rule[$plant]}"
  fi
  if grep -q "$found" "$log"; then
    echo "   found: $(grep -m 1 -o "$found.*" "$log" | cut -c 1-300)"
  else
    echo "   NOT FOUND; see $log"
    missed+=("$plant")
  fi
done
[ ${#missed[@]} -eq 0 ] || { echo "not found: ${missed[*]}" >&2; exit 1; }
