#!/usr/bin/env bash
# Builds the pinned Kubernetes tools of the test bed from published Go modules, once.
#
# Prints the folder that holds the binaries on standard output; progress goes to standard error.
# The folder is keyed by everything that decides what is built (module files, this script, the Go
# version), so a cache can be stale only by being unused, and can be deleted at any time.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

KUBERNETES=v1.36.1
KWOK=v0.8.0

command -v go >/dev/null || {
  echo "meridian: the test bed builds Kubernetes from its Go modules and needs Go 1.26 or later on PATH: https://go.dev/dl" >&2
  exit 1
}

key=$(cat "$here"/build.sh "$here"/*/go.mod "$here"/*/go.sum <(go env GOVERSION GOOS GOARCH) | sha256sum | cut -c1-16)
cache=${MERIDIAN_TOOLS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/meridian/tools}
bin=$cache/$key
mkdir -p "$cache"

# Two runs at once must not build twice, nor see half a folder.
exec 9>"$cache/$key.lock"
flock 9
[ -e "$bin/complete" ] && { echo "$bin"; exit 0; }

mkdir -p "$bin"
export CGO_ENABLED=0 GOTOOLCHAIN=local GOBIN=$bin GOFLAGS="-mod=readonly -trimpath -buildvcs=false"

# Without a stamp the binaries call themselves v0.0.0-master and kubectl and kwokctl misjudge them.
minor=${KUBERNETES#v1.}
stamp="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  stamp+=" -X $package.gitVersion=$KUBERNETES -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}"
  stamp+=" -X $package.gitTreeState=clean -X $package.buildDate=1970-01-01T00:00:00Z"
done

step=0
steps=8
build() { # binary, folder of its go.mod, package
  step=$((step + 1))
  [ -x "$bin/$1" ] && return
  echo "meridian: building $1 ($step of $steps; about seven minutes in all on two cores, then cached)" >&2
  (cd "$here/$2" && go build -ldflags "$stamp" -o "$bin/$1.part" "$3" && mv "$bin/$1.part" "$bin/$1")
}
build kubectl kubernetes k8s.io/kubernetes/cmd/kubectl
build kube-apiserver kubernetes k8s.io/kubernetes/cmd/kube-apiserver
build kube-controller-manager kubernetes k8s.io/kubernetes/cmd/kube-controller-manager
build kube-scheduler kubernetes k8s.io/kubernetes/cmd/kube-scheduler
build etcd etcd go.etcd.io/etcd/server/v3
build etcdutl etcd go.etcd.io/etcd/etcdutl/v3
for program in kwok kwokctl; do
  step=$((step + 1))
  [ -x "$bin/$program" ] && continue
  echo "meridian: building $program ($step of $steps)" >&2
  GOFLAGS="-trimpath -buildvcs=false" go install -ldflags "-s -w" "sigs.k8s.io/kwok/cmd/$program@$KWOK"
done

touch "$bin/complete"
echo "$bin"
