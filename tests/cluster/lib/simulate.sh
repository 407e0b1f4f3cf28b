# shellcheck shell=bash
# Simulated nodes: kwok writes the status of their Pods, no container runs.

simulate() {
  local count=$1 index
  [[ $count =~ ^[0-9]+$ ]] || fail "the number of nodes must be a number, not '$count'"
  up
  for ((index = 1; index <= count; index++)); do simulated_node "simulated-$index"; done |
    kubectl_admin apply --server-side -f - >/dev/null
  start kwok "$BIN/kube" kwok --kubeconfig="$PKI/admin.kubeconfig" --config="$HERE/simulated-nodes.yaml" \
    --manage-all-nodes=false --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=simulated --node-lease-duration-seconds=40
  wait_for "the simulated nodes" kwok \
    kubectl_admin wait --for=condition=Ready node --selector=retryable.dev/simulated=true --timeout=20s
  say "$count simulated nodes are ready"
}

# Its taint keeps Pods away that did not ask for it: they would never run.
simulated_node() {
  cat <<YAML
---
apiVersion: v1
kind: Node
metadata:
  name: $1
  annotations: {kwok.x-k8s.io/node: simulated}
  labels: {retryable.dev/simulated: "true", kubernetes.io/hostname: $1}
spec: {taints: [{key: retryable.dev/simulated, effect: NoSchedule}]}
YAML
}
