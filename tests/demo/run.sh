#!/usr/bin/env bash
# Shows Meridian's main job on real control planes with simulated nodes, step by step.
# usage: run.sh FOLDER_OF_PROGRAMS; with DEMO_ONCE=1 it ends by itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
programs=$1
bed=.testbed
tools=$(bash tests/tools/build.sh)
export PATH=$PWD/$programs:$programs:$tools:$PATH
operator=
cleanup() {
  [ -n "$operator" ] && kill "$operator" 2>/dev/null && wait "$operator" 2>/dev/null
  testbed down "$bed" || true
}
trap cleanup EXIT
trap 'exit 130' INT TERM

number=0
tell() { number=$((number + 1)); printf '\n\033[1m%s. %s\033[0m\n' "$number" "$1"; }
run() { printf '$ %s\n' "$*"; "$@"; }

tell "A hub and three members in two regions and three zones"
run testbed up "$bed"
export KUBECONFIG=$PWD/$bed/hub.kubeconfig
kubectl apply --server-side -f crds/manifests >/dev/null
kubectl wait --for=condition=Established crd --all --timeout=30s >/dev/null
meridian-operator migrate --database-url "$(cat $bed/database.url)" 2>/dev/null >/dev/null
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$bed/envelope.key"
meridian-operator --log-format text run --database-url "$(cat $bed/database.url)" --kubeconfig "$KUBECONFIG" \
  --envelope-key-file "$bed/envelope.key" --probes-address 127.0.0.1:0 >"$bed/operator.log" 2>&1 &
operator=$!

tell "The members join, each with its own least-privilege credential"
for member in "north-a north n1" "north-b north n2" "south-a south s1"; do
  read -r name region zone <<<"$member"
  run meridian cluster join "$name" --kubeconfig "$bed/$name.kubeconfig" --region "$region" --zone "$zone"
done
run meridian cluster list

tell "Two applications: one spread evenly, one that survives the loss of any zone"
run kubectl apply --server-side -f examples
run meridian app status catalog -n shop --wait --timeout 2m
run meridian app status ledger -n pay --wait --timeout 2m
run kubectl get mapp -A
kubectl get mapp -n shop catalog -o jsonpath='{.status.zones}' | grep -qx 'n1=4,n2=4,s1=4'
kubectl get mapp -n pay ledger -o jsonpath='{.status.zones}' | grep -qx 'n1=6,n2=6,s1=6'

tell "Why these numbers"
run meridian explain placement catalog -n shop

tell "What if zone n1 were lost"
run meridian what-if -A --lose zone=n1

tell "Drain a cluster: each replica leaves when its successor is available elsewhere"
run meridian cluster drain north-b --yes --wait --timeout 2m
run kubectl get mapp -A
run meridian cluster uncordon north-b
run meridian rebalance catalog -n shop --dry-run

tell "Every step held"
if [ "${DEMO_ONCE:-0}" = 1 ]; then exit 0; fi
echo "It runs on until Ctrl-C. In another terminal:"
echo "  export KUBECONFIG=$KUBECONFIG PATH=$programs:$tools:\$PATH"
wait "$operator"
