{{/* What the operator does where it runs tasks. */}}
{{- define "retryable-tasks.controllerRules" -}}
- apiGroups: [retryable.dev]
  resources: [retryabletasks]
  # delete: ttlSecondsAfterFinished, and the history of a schedule. create: a schedule's runs. patch: a schedule with
  # overlap Replace cancels them.
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [retryable.dev]
  resources: [retryabletasks/status]
  verbs: [update]
- apiGroups: [retryable.dev]
  resources: [taskqueues]
  verbs: [list, watch]
- apiGroups: [retryable.dev]
  resources: [taskqueues/status]
  verbs: [update]
- apiGroups: [retryable.dev]
  # A Pod's owner reference blocks the deletion of its task; where OwnerReferencesPermissionEnforcement is on, setting
  # it takes this.
  resources: [retryabletasks/finalizers]
  verbs: [update]
- apiGroups: [retryable.dev]
  resources: [taskschedules]
  verbs: [get, list, watch]
- apiGroups: [retryable.dev]
  resources: [taskschedules/status]
  verbs: [update]
- apiGroups: [retryable.dev]
  # As above: the owner reference of a schedule's task.
  resources: [taskschedules/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  # patch: the finalizer that keeps a Pod until its outcome is recorded.
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
- apiGroups: [""]
  # What the cluster says of a Pod that does not start.
  resources: [events]
  verbs: [list]
{{- end }}

{{/* Leader election. A create cannot be limited to a name. */}}
{{- define "retryable-tasks.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "retryable-tasks.fullname" . }}]
  verbs: [get, update]
{{- end }}

{{/* What the page reads where tasks are run. */}}
{{- define "retryable-tasks.uiRules" -}}
- apiGroups: [retryable.dev]
  resources: [retryabletasks, taskqueues, taskschedules]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- end }}

{{/* Who of the operator's replicas leads, in the release's namespace. */}}
{{- define "retryable-tasks.uiReplicaRules" -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "retryable-tasks.fullname" . }}]
  verbs: [get]
{{- end }}

{{/* Whose a token is, and what they may list. */}}
{{- define "retryable-tasks.uiReviewRules" -}}
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end }}

{{/* How the `remove-finalizers` subcommand stops the operator, in the release's namespace. */}}
{{- define "retryable-tasks.stopRules" -}}
- apiGroups: [apps]
  resources: [deployments/scale]
  resourceNames: [{{ include "retryable-tasks.fullname" . }}]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- end }}

{{/* What the `self-test` subcommand does where it makes its task. */}}
{{- define "retryable-tasks.selfTestRules" -}}
- apiGroups: [retryable.dev]
  resources: [retryabletasks]
  verbs: [create, get, list, watch, delete]
{{- end }}

{{/* What the `remove-finalizers` subcommand does where tasks were run. */}}
{{- define "retryable-tasks.removeFinalizersRules" -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, patch]
{{- end }}

{{/* A role and its binding to a ServiceAccount of the release's namespace. Takes root, namespace (empty: the whole
cluster), name, component, serviceAccount, rules, and event when both belong to a hook. */}}
{{- define "retryable-tasks.grant" }}
{{- $kind := ternary "Role" "ClusterRole" (ne .namespace "") }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  {{- include "retryable-tasks.grantMetadata" (merge (dict "weight" -2) .) | nindent 2 }}
rules: {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  {{- include "retryable-tasks.grantMetadata" (merge (dict "weight" -1) .) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .serviceAccount }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}

{{- define "retryable-tasks.grantMetadata" -}}
name: {{ .name }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels:
  {{- include "retryable-tasks.labels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .component }}
{{- if .event }}
annotations: {{- include "retryable-tasks.hookAnnotations" . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The same grant wherever tasks are run: once for the cluster, or in each watched namespace. Takes what grant takes,
without namespace. */}}
{{- define "retryable-tasks.grantWatched" }}
{{- $grant := . }}
{{- range .root.Values.watch.namespaces | default (list "") }}
{{- include "retryable-tasks.grant" (merge (dict "namespace" .) $grant) }}
{{- end }}
{{- end }}
