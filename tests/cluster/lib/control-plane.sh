# shellcheck shell=bash
# etcd, API server, controller manager and scheduler.

kubectl_admin() { KUBECONFIG=$PKI/admin.kubeconfig KUBECACHEDIR=$CLUSTER_DIR/kubectl-cache timeout 30 "$BIN/kubectl" "$@"; }

# healthy PORT: does a component that listens on this machine alone say that it is well?
healthy() { timeout 10 "$BIN/kubectl" --kubeconfig="$PKI/admin.kubeconfig" --server="https://127.0.0.1:$1" get --raw /healthz; }

api_ready() { timeout 10 "$BIN/kubectl" --kubeconfig="$PKI/admin.kubeconfig" get --raw /readyz; }

up() {
  local began=$SECONDS
  require_packages
  build
  require_ports etcd "$ETCD_PORT" "$ETCD_PEER_PORT"
  require_ports apiserver "$API_PORT"
  require_ports controller-manager "$CONTROLLER_MANAGER_PORT"
  require_ports scheduler "$SCHEDULER_PORT"
  [ -d "$CLUSTER_DIR/etcd" ] || rm -f "$AUDIT_LOG" "$LOGS"/{etcd,apiserver,controller-manager,scheduler,kubelet,containerd,kwok}.log
  create_bridge
  [ -d "$PKI" ] || create_pki
  start_etcd
  start_apiserver
  wait_for "the API server" apiserver api_ready
  start_controller_manager
  start_scheduler
  wait_for "the controller manager" controller-manager healthy "$CONTROLLER_MANAGER_PORT"
  wait_for "the scheduler" scheduler healthy "$SCHEDULER_PORT"
  # No Pod is admitted before the controller manager made it.
  wait_for "the default service account" controller-manager kubectl_admin get serviceaccount default
  say "the control plane of Kubernetes $(kubernetes_version) is up ($((SECONDS - began)) s): https://$BRIDGE_IP:$API_PORT"
}

# Pods reach the API server, and it the kubelet, over the bridge: no other address of the machine is listened on.
create_bridge() {
  local other
  if ! ip link show "$BRIDGE" >/dev/null 2>&1; then
    other=$(ip -o -4 address show to "$POD_RANGE" | awk '{print $2; exit}')
    [ -z "$other" ] || fail "the address range $POD_RANGE is in use by the interface $other: set CLUSTER_NUMBER=1 for another"
    # With an address of its own the bridge keeps it when Pods come and go.
    ip link add name "$BRIDGE" address "02:00:0a:$(printf %02x $((213 + CLUSTER_NUMBER))):00:01" type bridge ||
      fail "cannot create a network bridge: the kernel lacks it, or this is a container without the right to"
  fi
  ip address replace "$BRIDGE_IP/${POD_RANGE#*/}" dev "$BRIDGE"
  ip link set "$BRIDGE" up
}

create_pki() {
  "$BIN/kube" pki --dir "$PKI" --server "https://$BRIDGE_IP:$API_PORT" --node "$NODE" --node-address "$BRIDGE_IP" \
    --hosts "localhost,kubernetes,kubernetes.default,kubernetes.default.svc,127.0.0.1,$SERVICE_IP,$BRIDGE_IP"
}

# No fsync: a killed process loses nothing by it, only a machine that loses power would.
start_etcd() {
  local client=http://127.0.0.1:$ETCD_PORT peer=http://127.0.0.1:$ETCD_PEER_PORT
  start etcd "$BIN/kube" etcd --data-dir "$CLUSTER_DIR/etcd" --unsafe-no-fsync --quota-backend-bytes 8000000000 --log-level warn \
    --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer"
}

# The audit log tells who wrote what and when, in microseconds: of Pods and tasks with what was sent and answered, unless
# CLUSTER_AUDIT_BODIES=false says that this would cost too much. One file: figures are counted from the whole of it.
write_audit_policy() {
  cat <<'YAML'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
YAML
  if [ "${CLUSTER_AUDIT_BODIES:-true}" = true ]; then
    cat <<'YAML'
- level: RequestResponse
  verbs: [create, update, patch, delete]
  resources:
  - {group: "", resources: [pods]}
  - {group: retryable.dev, resources: [retryabletasks, retryabletasks/status, taskqueues, taskqueues/status]}
YAML
  fi
  echo '- level: Metadata'
}

start_apiserver() {
  write_audit_policy >"$CLUSTER_DIR/audit-policy.yaml"
  start apiserver "$BIN/kube" apiserver --etcd-servers="http://127.0.0.1:$ETCD_PORT" \
    --bind-address="$BRIDGE_IP" --secure-port="$API_PORT" --advertise-address="$BRIDGE_IP" \
    --service-cluster-ip-range="$SERVICE_RANGE" --authorization-mode=Node,RBAC \
    --enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement --allow-privileged \
    --client-ca-file="$PKI/ca.crt" --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
    --requestheader-client-ca-file="$PKI/ca.crt" --requestheader-allowed-names=nobody \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$PKI/sa.pub" --service-account-signing-key-file="$PKI/sa.key" \
    --kubelet-client-certificate="$PKI/kubelet-client.crt" --kubelet-client-key="$PKI/kubelet-client.key" \
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --audit-policy-file="$CLUSTER_DIR/audit-policy.yaml" --audit-log-path="$AUDIT_LOG" --audit-log-maxsize=10000
}

# Each of its controllers has an account and a client of its own: at the default rate they take five seconds to start.
start_controller_manager() {
  local config=$PKI/controller-manager.kubeconfig
  local -a more
  read -ra more <<<"${CLUSTER_CONTROLLER_MANAGER_FLAGS:-}"
  start controller-manager "$BIN/kube" controller-manager --kubeconfig="$config" \
    --authentication-kubeconfig="$config" --authorization-kubeconfig="$config" \
    --bind-address=127.0.0.1 --secure-port="$CONTROLLER_MANAGER_PORT" \
    --tls-cert-file="$PKI/controller-manager.crt" --tls-private-key-file="$PKI/controller-manager.key" \
    --kube-api-qps=200 --kube-api-burst=400 \
    --leader-elect=false --use-service-account-credentials --flex-volume-plugin-dir="$CLUSTER_DIR/volume-plugins" \
    --service-account-private-key-file="$PKI/sa.key" --root-ca-file="$PKI/ca.crt" "${more[@]}"
}

start_scheduler() {
  local config=$PKI/scheduler.kubeconfig
  start scheduler "$BIN/kube" scheduler --kubeconfig="$config" \
    --authentication-kubeconfig="$config" --authorization-kubeconfig="$config" \
    --bind-address=127.0.0.1 --secure-port="$SCHEDULER_PORT" \
    --tls-cert-file="$PKI/scheduler.crt" --tls-private-key-file="$PKI/scheduler.key" --leader-elect=false
}
