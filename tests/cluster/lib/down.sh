# shellcheck shell=bash disable=SC2153 # NAME and others are set by the parts before
# Stopping the cluster so that nothing of it is left on the machine, whatever state it was in.

# The store goes last: an API server that has lost it does not end for a minute.
down() {
  local name
  for name in kwok scheduler controller-manager kubelet; do stop "$name"; done
  [ ! -f "$CLUSTER_DIR/containerd.toml" ] || remove_containers
  for name in apiserver etcd; do stop "$name"; done
  remove_control_groups
  remove_network
  restore_kernel_settings
  find "$CLUSTER_DIR" -mindepth 1 -maxdepth 1 ! -name bin ! -name log ! -name lock -exec rm -rf {} +
  say "the cluster is down; its logs are in $LOGS"
}

# The container runtime removes its Pods in order, and is started once more for that if it had been killed.
# What even that leaves is swept up after it.
remove_containers() {
  if ! [ -x "$BIN/containerd" ]; then
    say "containerd is gone from this machine"
  else
    start_containerd
    "$BIN/kube" remove-pods --endpoint "unix://$CONTAINERD_SOCKET" 2>>"$LOGS/down.log" ||
      say "containerd could not remove all Pods in order (its words are in $LOGS/down.log): removing them by force"
    stop containerd
  fi
  kill_shims
  remove_stale_sockets
  remove_control_groups # with them the processes in network namespaces and mounts end
  remove_network_namespaces
  unmount_all
  remove_fixed_paths
}

# The few places outside CLUSTER_DIR that the kubelet and containerd insist on; what others have there stays.
remove_fixed_paths() {
  local socket=/var/lib/kubelet/device-plugins/kubelet.sock
  find /var/log/containers -lname "$CLUSTER_DIR/*" -delete 2>/dev/null || true
  [ -n "$(ss -Hxl src "$socket")" ] || rm -f "$socket"
  rmdir /var/log/containers "${socket%/*}" /var/lib/kubelet /run/containerd/s /run/containerd 2>/dev/null || true
}

kill_shims() {
  local dir
  for dir in /proc/[0-9]*; do
    if tr '\0' ' ' 2>/dev/null <"$dir/cmdline" | grep -q "^[^ ]*containerd-shim.* $CONTAINERD_SOCKET "; then
      kill -KILL "${dir#/proc/}" 2>/dev/null || true
    fi
  done
}

# The groups hold every process of every container, also of one whose shim is gone.
remove_control_groups() {
  local hierarchy group _
  while read -r hierarchy; do
    group=$hierarchy/$NAME
    for _ in {1..100}; do
      [ -d "$group" ] || break
      kill_all_of "$group"
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep .1
    done
    [ ! -d "$group" ] || say "the control group $group could not be removed"
  done < <(cgroup_hierarchies; awk '$3 == "cgroup2" {print $2}' /proc/mounts)
}

kill_all_of() {
  local list pid
  while read -r list; do
    while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done 2>/dev/null <"$list"
  done < <(find "$1" -name cgroup.procs 2>/dev/null)
}

# The CNI library notes each attachment, with its network namespace, in one of these folders.
remove_network_namespaces() {
  local note namespace pod
  for note in /var/lib/cni/{results,cache/results}/"$NAME"-*-eth0; do
    [ -f "$note" ] || continue
    while read -r namespace; do
      umount -l "$namespace" 2>/dev/null || true
      rm -f "$namespace"
    done < <(grep -o '/[a-z/]*/netns/cni-[0-9a-f-]*' "$note")
    pod=${note##*/"$NAME"-}
    rm -f "$note" "${note%/*}/cni-loopback-${pod%-eth0}-lo"
  done
  rmdir /var/lib/cni/{results,cache/results,cache,} /run/netns 2>/dev/null || true
}

unmount_all() {
  local point
  awk -v dir="$CLUSTER_DIR/" 'index($2, dir) == 1 {print $2}' /proc/mounts | LC_ALL=C sort -r | while read -r point; do
    umount -l "$point" || say "cannot unmount $point"
  done
}

remove_network() {
  if have iptables; then firewall remove; fi
  ip link delete "$BRIDGE" 2>/dev/null || true
}

restore_kernel_settings() {
  local name value
  [ -f "$SAVED_KERNEL_SETTINGS" ] || return 0
  [ -z "$(find /sys/fs/cgroup -maxdepth 2 -name 'retryable-tasks-*' -print -quit)" ] || return 0 # another cluster needs them
  while read -r name value; do echo "$value" >"/proc/sys/$name"; done <"$SAVED_KERNEL_SETTINGS"
  rm -rf "${SAVED_KERNEL_SETTINGS%/*}"
}
