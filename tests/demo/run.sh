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
api=
cleanup() {
  for program in $api $operator; do kill "$program" 2>/dev/null && wait "$program" 2>/dev/null; done
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

tell "Drain a cluster as an operation: each replica leaves when its successor is available elsewhere"
DATABASE_URL=$(cat $bed/database.url)
export DATABASE_URL
MERIDIAN_TOKEN=$(meridian-web-api token create --bootstrap --name demo --subject person/you --role admin 2>/dev/null)
export MERIDIAN_TOKEN
meridian-web-api --log-format text run --listen 127.0.0.1:0 --probes-address 127.0.0.1:0 \
  --envelope-key-file "$bed/envelope.key" --hub-kubeconfig "$KUBECONFIG" >"$bed/web-api.log" 2>&1 &
api=$!
until address=$(grep -o 'address=127[0-9.:]*' "$bed/web-api.log" | head -n 1) && [ -n "$address" ]; do sleep 0.1; done
export MERIDIAN_SERVER=http://${address#address=}
run meridian drain cluster/north-b --dry-run
run meridian drain cluster/north-b --reason "kernel update" --wait --timeout 2m
run kubectl get mapp -A
run meridian op list
drained=$(meridian op list -o json | jq -r '.items[0].id')
run meridian op verify "$drained"
run meridian op undo "$drained"
run meridian rebalance catalog -n shop --dry-run

tell "The same from a pipeline: start once, wait, exit code"
auth="Authorization: Bearer $MERIDIAN_TOKEN"
id=$(curl -fsS "$MERIDIAN_SERVER/api/v1/operations" -H "$auth" -H "Content-Type: application/json" -H "Idempotency-Key: run-1" \
  -d '{"kind": "drain", "spec": {"cluster": "south-a"}, "reason": "pipeline"}' | jq -r .id)
until state=$(curl -fsS "$MERIDIAN_SERVER/api/v1/operations/$id?waitSeconds=60" -H "$auth") && jq -e .done <<<"$state" >/dev/null; do sleep 1; done
jq -c '{id, kind, subject, state, succeeded}' <<<"$state"
jq -e .succeeded <<<"$state" >/dev/null
run meridian op undo "$id"

tell "A release: one pod in each cell, then half, then all"
kubectl wait --for=condition=RebalanceNeeded mapp/catalog -n shop --timeout=30s >/dev/null
run meridian rebalance catalog -n shop --yes
run meridian app status catalog -n shop --wait --timeout 1m >/dev/null
release='{"beta": true, "batches": ["50%"], "minReady": "1s", "deadline": "10s"}'
run kubectl patch mapp catalog -n shop --type merge -p "{\"spec\": {\"release\": $release}}"
run meridian release start catalog -n shop --image server=registry.example.com/catalog:1.1 --wait --timeout 2m
run meridian release status catalog -n shop
run kubectl get mapp -n shop

tell "A bad image is stopped in beta and goes back by itself; the Application is not edited"
if run meridian release start catalog -n shop --image server=registry.example.com/catalog:missing --wait --timeout 2m; then exit 1; fi
run meridian release status catalog -n shop || true
kubectl get mapp -n shop catalog -o jsonpath='{.status.conditions[?(@.type=="Ready")].reason}{"\n"}' | grep -x RevisionRolledBack

tell "The same from a pipeline: start, wait, exit code"
id=$(curl -fsS -H "$auth" -H "Idempotency-Key: run-2" -d '{"images": {"server": "registry.example.com/catalog:1.2"}}' \
  "$MERIDIAN_SERVER/api/v1/applications/shop/catalog/releases" | jq -re .operation)
until curl -fsSo "$bed/op.json" -H "$auth" "$MERIDIAN_SERVER/api/v1/operations/$id?waitSeconds=60" && jq -e '.done or .state == "Paused"' "$bed/op.json" >/dev/null; do sleep 1; done
jq -c '{kind, subject, state, succeeded}' "$bed/op.json"
jq -e .succeeded "$bed/op.json" >/dev/null
run meridian app status catalog -n shop --wait --timeout 1m

tell "Every step held"
if [ "${DEMO_ONCE:-0}" = 1 ]; then exit 0; fi
echo "It runs on until Ctrl-C. In another terminal:"
echo "  export KUBECONFIG=$KUBECONFIG PATH=$programs:$tools:\$PATH"
wait "$operator"
