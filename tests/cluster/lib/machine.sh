# shellcheck shell=bash disable=SC2034 # the settings are for the other parts
# What this machine must have, and what is done about it when it has not.

say() { printf '%s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

check_settings() {
  [[ $CLUSTER_NUMBER =~ ^[0-9]$ ]] || fail "CLUSTER_NUMBER is '$CLUSTER_NUMBER': it must be one digit"
  [[ $CLUSTER_DIR =~ ^/[^[:space:]]{1,70}$ ]] ||
    fail "CLUSTER_DIR is '$CLUSTER_DIR': it must be an absolute path without spaces, short enough (70) for the sockets in it"
}

# Clusters of different numbers share no port, no address and no name on the machine.
set_addresses() {
  local n=$CLUSTER_NUMBER
  NAME=retryable-tasks-$n # of the CNI network and of the control group
  NODE=node-1
  BRIDGE=retryable$n
  POD_RANGE=10.$((213 + n)).0.0/16
  BRIDGE_IP=10.$((213 + n)).0.1 # the machine, as Pods see it
  SERVICE_RANGE=10.$((96 + n)).0.0/16
  SERVICE_IP=10.$((96 + n)).0.1
  ETCD_PORT=$((2379 + 100 * n))
  ETCD_PEER_PORT=$((2380 + 100 * n))
  API_PORT=$((6443 + 100 * n))
  CONTROLLER_MANAGER_PORT=$((10257 + 100 * n))
  SCHEDULER_PORT=$((10259 + 100 * n))
  KUBELET_PORT=$((10250 + 100 * n))
  KUBELET_HEALTH_PORT=$((10248 + 100 * n))
  # A proxy for the way out must not be asked for the way to the cluster.
  export NO_PROXY=${NO_PROXY:+$NO_PROXY,}127.0.0.1,localhost,$BRIDGE_IP,$SERVICE_IP no_proxy
  no_proxy=$NO_PROXY
}

# Everything that can be known before anything long has begun.
check_machine() {
  require_go
  require_root
  require_cgroups
  mkdir -p "$LOGS"
  require_packages
}

# One command at a time per cluster; the lock ends with this process.
lock() {
  require_root
  mkdir -p "$BIN" "$LOGS" "$RUN"
  exec {LOCK}>"$CLUSTER_DIR/lock"
  flock -n "$LOCK" || { say "waiting for another command on $CLUSTER_DIR to end" && flock "$LOCK"; }
}

require_root() {
  [ "$(id -u)" = 0 ] || fail "starting and stopping the cluster needs root (containers, a bridge, control groups):" \
    "run it as 'sudo -E env \"PATH=\$PATH\" ...'"
}

require_go() {
  have go || fail "Go is missing: install $(awk '$1 == "go" {print $2}' "$HERE/go.mod") or newer from https://go.dev/dl and put it in PATH"
  (cd "$HERE" && go version >/dev/null) || fail "this Go cannot build the cluster: install a newer one from https://go.dev/dl"
}

cni_dir() {
  local dir
  for dir in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
    [ -x "$dir/bridge" ] && [ -x "$dir/host-local" ] && [ -x "$dir/loopback" ] && echo "$dir" && return
  done
}

# Commands are asked for rather than packages: runc from elsewhere will do, and must not be replaced.
missing_packages() {
  have ip && have ss || echo iproute2
  have iptables || echo iptables
  have runc || echo runc
  have busybox || echo busybox-static
  [ -n "$(cni_dir)" ] || echo containernetworking-plugins
}

is_debian() { have apt-get && grep -qE '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release; }

require_packages() {
  local missing log=$LOGS/apt-get.log
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]})) || return 0
  is_debian || fail "missing on this machine: ${missing[*]} (names of the Debian packages); install them and try again"
  say "installing ${missing[*]} with apt-get"
  if ! apt_get update >"$log" 2>&1 || ! apt_get install "${missing[@]}" >>"$log" 2>&1; then
    tail -n 5 "$log" >&2
    fail "apt-get could not install ${missing[*]} (all it said is in $log); install them and try again"
  fi
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]} == 0)) || fail "still missing after the installation: ${missing[*]}"
}

# --no-remove: rather fail than take a package from the machine that is in the way.
apt_get() {
  local action=$1
  shift
  DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends --no-remove "$action" "$@" </dev/null
}

# require_ports COMPONENT PORT...: free, unless it is the component itself that listens
require_ports() {
  local component=$1 port owner _
  shift
  alive "$component" && return
  for port in "$@"; do
    for _ in {1..100}; do # a process that was just killed holds its port for a moment
      owner=$(ss -Hltnp "sport = :$port")
      [ -n "$owner" ] || continue 2
      sleep .1
    done
    owner=$(sed -n 's/.*users:((\("[^"]*",pid=[0-9]*\).*/\1/p; q' <<<"$owner")
    fail "port $port, which the $component needs, is in use by ${owner:-another process}:" \
      "stop that, or set CLUSTER_NUMBER=1 for other ports"
  done
}

# The hierarchies that a node's containers are put into: one of version 2, or one per controller of version 1.
cgroup_hierarchies() {
  local hierarchy
  if [ "$(stat -f -c %T /sys/fs/cgroup 2>/dev/null)" = cgroup2fs ]; then
    echo /sys/fs/cgroup
  else
    awk '$3 == "cgroup" {print $2}' /proc/mounts | while read -r hierarchy; do
      [ "$(stat -f -c %T "$hierarchy" 2>/dev/null)" != cgroupfs ] || echo "$hierarchy" # else it is mounted over
    done
  fi
}

require_cgroups() {
  local hierarchy name controllers
  local -a hierarchies
  mapfile -t hierarchies < <(cgroup_hierarchies)
  ((${#hierarchies[@]})) || fail "no control groups are mounted in /sys/fs/cgroup: containers cannot run on this machine"
  for hierarchy in "${hierarchies[@]}"; do
    mkdir -p "$hierarchy/$NAME" 2>/dev/null || fail "cannot create a control group in $hierarchy:" \
      "run this on the machine itself, or in a privileged container"
    enable_controllers "$hierarchy"
    enable_controllers "$hierarchy/$NAME"
  done
  controllers=" $(cgroup_controllers | tr '\n,' ' ') "
  for name in cpu cpuset memory pids; do
    [[ $controllers == *" $name "* ]] || fail "the control group '$name' is missing or kept back: containers cannot run here" \
      "(inside a container: start that one with --privileged and --cgroupns=host)"
  done
}

cgroup_controllers() { cat "/sys/fs/cgroup/$NAME/cgroup.controllers" 2>/dev/null || awk '$3 == "cgroup" {print $4}' /proc/mounts; }

# Version 2 hands a controller down only when told. It refuses where processes are, as in the root of a container.
enable_controllers() {
  local name
  [ -f "$1/cgroup.subtree_control" ] || return 0
  for name in $(<"$1/cgroup.controllers"); do
    echo "+$name" 2>/dev/null >"$1/cgroup.subtree_control" || true
  done
}
