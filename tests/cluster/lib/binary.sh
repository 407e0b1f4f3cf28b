# shellcheck shell=bash
# The one binary of Kubernetes and those of containerd, kept per content of their sources: a stale one is never used.

kubernetes_version() { awk '$1 == "k8s.io/kubernetes" {print $2}' "$HERE/go.mod"; }

binary_key() {
  local -a sources
  cd "$HERE" || return
  mapfile -t sources < <(find . -name '*.go' ! -name '*_test.go' | LC_ALL=C sort)
  { go version && cat go.mod go.sum "${sources[@]}" && declare -f compile link_flags; } | sha256sum | cut -c 1-16
}

build() {
  local key dir
  require_go
  key=$(binary_key)
  dir=$CACHE/kube/$key
  mkdir -p "$dir" "$BIN" "$LOGS"
  [ -x "$dir/kube" ] || compile "$dir"
  ln -sfn "$dir/kube" "$BIN/kube"
  ln -sfn "$dir/kube" "$BIN/kubectl"
  ln -sfn "$dir/kube" "$BIN/helm"
  ln -sfn "$dir/containerd" "$BIN/containerd"
  ln -sfn "$dir/ctr" "$BIN/ctr"
  remove_unused_binaries "$dir"
}

compile() {
  local dir=$1 version log=$LOGS/build.log began=$SECONDS
  version=$(kubernetes_version)
  say "building Kubernetes $version with $(cd "$HERE" && go env GOVERSION): several minutes the first time, seconds later"
  (
    exec {build_lock}>"$CACHE/kube/lock" # clusters of other numbers build the same binary
    flock "$build_lock"
    [ ! -x "$dir/kube" ] || exit 0
    cd "$HERE"
    mkdir -p "$dir/unfinished"
    CGO_ENABLED=0 with_progress "building" "$log" \
      go build -v -trimpath -o "$dir/unfinished/" -ldflags "$(link_flags "$version")" . tool
    mv "$dir/unfinished/"{containerd,containerd-shim-runc-v2,ctr} "$dir/"
    mv "$dir/unfinished/cluster" "$dir/kube" # the last: it says that all are there
    rmdir "$dir/unfinished"
  ) || { tail -n 20 "$log" >&2 && fail "the build failed; all it said is in $log"; }
  say "built in $((SECONDS - began)) s: $dir"
}

# What `kubectl version`, the node and the user agents in the audit log say; without it that would be v0.0.0.
link_flags() {
  local package major minor _
  IFS=. read -r major minor _ <<<"${1#v}"
  printf ' -s -w'
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    printf -- ' -X %s.gitVersion=%s -X %s.gitMajor=%s -X %s.gitMinor=%s' "$package" "$1" "$package" "$major" "$package" "$minor"
  done
}

purge() {
  rm -rf "$CLUSTER_DIR"
  remove_unused_binaries none
}

# remove_unused_binaries CURRENT: all but the current one and those of other clusters
remove_unused_binaries() {
  local current=$1 dir link
  for dir in "$CACHE"/kube/*/; do
    dir=${dir%/}
    if [ "$dir" = "$current" ] || [ ! -x "$dir/kube" ]; then continue; fi
    for link in "$CACHE"/cluster-*/bin/kube /proc/[0-9]*/exe; do
      [[ $(readlink "$link" 2>/dev/null) != "$dir/"* ]] || continue 2
    done
    rm -rf "$dir"
  done
}
