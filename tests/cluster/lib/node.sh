# shellcheck shell=bash disable=SC2153 # NAME and others are set by the parts before
# The one real node: containerd and the kubelet on this machine.

CONTAINERD_SOCKET=$CLUSTER_DIR/containerd.sock
# What the kubelet and the bridge plugin set on the machine. The last cluster that goes down puts back what was there.
KERNEL_SETTINGS="net/ipv4/ip_forward vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops
  kernel/keys/root_maxkeys kernel/keys/root_maxbytes"
SAVED_KERNEL_SETTINGS=/run/retryable-tasks/kernel-settings # as forgetful of a reboot as the kernel

# Its warnings are of the machine (control groups of version 1), and of no use with each call.
containerd_ctr() { CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1 timeout "$LIMIT" "$BIN/ctr" --address "$CONTAINERD_SOCKET" --namespace k8s.io "$@"; }

node() {
  local began
  require_cgroups
  up
  began=$SECONDS
  require_ports kubelet "$KUBELET_PORT" "$KUBELET_HEALTH_PORT"
  save_kernel_settings
  firewall add
  write_cni_config
  write_containerd_config
  write_kubelet_config
  start_containerd
  load_stock_images
  start kubelet "$BIN/kube" kubelet --config="$CLUSTER_DIR/kubelet.yaml" --kubeconfig="$PKI/node.kubeconfig" \
    --hostname-override="$NODE" --node-ip="$BRIDGE_IP" --root-dir="$CLUSTER_DIR/kubelet" --cert-dir="$CLUSTER_DIR/kubelet/pki"
  # The API server asks the kubelet, as it does for `kubectl logs`; Ready alone may be the word of one that was killed.
  wait_for "the node" kubelet kubectl_admin get --raw "/api/v1/nodes/$NODE/proxy/healthz"
  wait_for "the node to be ready" kubelet kubectl_admin wait --for=condition=Ready "node/$NODE" --timeout=1s
  wait_for "the node to know its Pods" kubelet node_knows_its_pods
  say "$NODE is ready ($((SECONDS - began)) s)"
}

# A kubelet that was started anew answers requests for the logs of Pods that it has not been told of with "not found".
node_knows_its_pods() {
  [ "$(count_pods "/api/v1/pods?fieldSelector=spec.nodeName=$NODE")" = "$(count_pods "/api/v1/nodes/$NODE/proxy/pods")" ]
}

count_pods() { kubectl_admin get --raw "$1" | grep -o '"nodeName":' | wc -l; }

save_kernel_settings() {
  local name saved=$SAVED_KERNEL_SETTINGS
  [ -f "$saved" ] && return
  mkdir -p "${saved%/*}"
  for name in $KERNEL_SETTINGS; do
    [ ! -r "/proc/sys/$name" ] || echo "$name $(cat "/proc/sys/$name")"
  done >"$saved.$CLUSTER_NUMBER"
  mv "$saved.$CLUSTER_NUMBER" "$saved"
}

# The one Service that Pods need is kubernetes.default, by its IP: there is no kube-proxy. The other rules let
# Pods reach this machine and one another where a firewall would not.
firewall_rules() {
  local chain
  for chain in PREROUTING OUTPUT; do
    echo "nat $chain -d $SERVICE_IP/32 -p tcp --dport 443 -j DNAT --to-destination $BRIDGE_IP:$API_PORT"
  done
  echo "filter INPUT -i $BRIDGE -j ACCEPT"
  echo "filter FORWARD -i $BRIDGE -o $BRIDGE -j ACCEPT"
}

# firewall add|remove
firewall() {
  local table chain rule
  while read -r table chain rule; do
    # shellcheck disable=SC2086 # a rule is many words
    if iptables -w -t "$table" -C "$chain" $rule 2>/dev/null; then
      [ "$1" = add ] || iptables -w -t "$table" -D "$chain" $rule
    else
      [ "$1" = remove ] || iptables -w -t "$table" -I "$chain" $rule
    fi
  done < <(firewall_rules)
}

write_cni_config() {
  mkdir -p "$CLUSTER_DIR/cni"
  cat >"$CLUSTER_DIR/cni/10-bridge.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "$NAME", "plugins": [{"type": "bridge", "bridge": "$BRIDGE", "isGateway": true, "ipMasq": false,
 "ipam": {"type": "host-local", "dataDir": "$CLUSTER_DIR/cni-addresses",
          "ranges": [[{"subnet": "$POD_RANGE"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
}

# An overlay file system cannot lie on another one, as inside a container.
snapshotter() { if [ "$(stat -f -c %T "$CLUSTER_DIR")" = overlayfs ]; then echo native; else echo overlayfs; fi; }

# All paths are the cluster's own, so that another containerd on the machine is not disturbed.
write_containerd_config() {
  cat >"$CLUSTER_DIR/containerd.toml" <<TOML
version = 2
root = "$CLUSTER_DIR/containerd/root"
state = "$CLUSTER_DIR/containerd/state"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
address = "$CONTAINERD_SOCKET"
[plugins."io.containerd.internal.v1.opt"]
path = "$CLUSTER_DIR/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
disable_apparmor = true
sandbox_image = "$PAUSE_IMAGE"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "$(cni_dir)"
conf_dir = "$CLUSTER_DIR/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "$(snapshotter)"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
runtime_path = "$(readlink -f "$BIN/containerd")-shim-runc-v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "$CLUSTER_DIR/containerd/runc"
TOML
}

# Images cannot be pulled again, so none is collected when the disk is nearly full, and only an all but full one evicts.
# The name server is one that nobody runs: it refuses at once, while none at all would cost each Pod a warning Event.
write_kubelet_config() {
  cat >"$CLUSTER_DIR/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $BRIDGE_IP
port: $KUBELET_PORT
healthzPort: $KUBELET_HEALTH_PORT
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/node.crt
tlsPrivateKeyFile: $PKI/node.key
containerRuntimeEndpoint: unix://$CONTAINERD_SOCKET
podLogsDir: $CLUSTER_DIR/pod-logs
volumePluginDir: $CLUSTER_DIR/volume-plugins
clusterDNS: [$BRIDGE_IP]
clusterDomain: cluster.local
cgroupDriver: cgroupfs
cgroupRoot: /$NAME
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
oomScoreAdj: 0
maxOpenFiles: 20000
maxPods: 250
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%, imagefs.inodesFree: 1%}
YAML
}

start_containerd() {
  alive containerd || remove_stale_sockets
  start containerd "$BIN/containerd" --config "$CLUSTER_DIR/containerd.toml"
  wait_for "containerd" containerd containerd_ctr version
}

# A killed shim leaves its socket in a place that all containerds share; the names of ours are noted beside each container,
# until containerd, started anew, tidies the notes away.
remove_stale_sockets() {
  local socket tasks=$CLUSTER_DIR/containerd/state/io.containerd.runtime.v2.task
  [ -d "$tasks" ] || return 0
  while read -r socket; do
    [ -n "$(ss -Hxl src "$socket")" ] || rm -f "$socket"
  done < <(find "$tasks" -maxdepth 3 \( -name address -o -name bootstrap.json \) -exec grep -ho '/run/containerd/s/[0-9a-f]*' {} +)
}

BUSYBOX_IMAGE=docker.io/library/busybox:1
PAUSE_IMAGE=docker.io/library/retryable-tasks-pause:1

load_stock_images() {
  local busybox
  busybox=$(command -v busybox)
  "$BIN/kube" image --kind busybox --binary "$busybox" --name "$BUSYBOX_IMAGE" --out "$RUN/busybox.tar" ||
    fail "$busybox cannot be packed into an image: install the Debian package busybox-static"
  "$BIN/kube" image --kind pause --binary "$busybox" --name "$PAUSE_IMAGE" --out "$RUN/pause.tar"
  containerd_ctr images import "$RUN/busybox.tar" >/dev/null
  containerd_ctr images import "$RUN/pause.tar" >/dev/null
}

load_image() {
  [ -f "$1" ] || fail "which image? there is no file '$1'"
  require_root
  alive containerd || fail "there is no node to load the image into: run '$0 node' first"
  containerd_ctr images import "$1" >/dev/null
  say "loaded $1"
}
