{{/* The chart's name in labels. */}}
{{- define "retryable-tasks.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* The name of the objects. Cut at 50, so that a suffix still leaves a name of at most 63 characters. */}}
{{- define "retryable-tasks.fullname" -}}
{{- $name := include "retryable-tasks.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Labels of every object, but for the component. */}}
{{- define "retryable-tasks.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "retryable-tasks.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Labels that select the operator's Pods. The component keeps the hooks' Pods out: the remove-finalizers hook waits until no
Pod is selected any more. */}}
{{- define "retryable-tasks.selectorLabels" -}}
app.kubernetes.io/name: {{ include "retryable-tasks.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{/* Labels that select the page's Pod. */}}
{{- define "retryable-tasks.uiSelectorLabels" -}}
app.kubernetes.io/name: {{ include "retryable-tasks.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: ui
{{- end }}

{{- define "retryable-tasks.serviceAccountName" -}}
{{- default (include "retryable-tasks.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{- define "retryable-tasks.image" -}}
{{- with .Values.image -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ with .digest }}@{{ . }}{{ end }}
{{- end }}
{{- end }}

{{/* Where the test makes its task: in the release's namespace if that is watched, else in the first that is. */}}
{{- define "retryable-tasks.testNamespace" -}}
{{- $watched := .Values.watch.namespaces }}
{{- if or (not $watched) (has .Release.Namespace $watched) }}
{{- .Release.Namespace }}
{{- else }}
{{- first $watched }}
{{- end }}
{{- end }}

{{/* What every container of the chart has in common. */}}
{{- define "retryable-tasks.container" -}}
image: {{ include "retryable-tasks.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext: {{- toYaml .Values.securityContext | nindent 2 }}
resources: {{- toYaml .Values.resources | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{/* What every Pod of the chart has in common. The token is asked for here, where it is needed, and not by the
ServiceAccount. */}}
{{- define "retryable-tasks.pod" -}}
automountServiceAccountToken: true
enableServiceLinks: false
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A hook's Pod. The nodes that suit the operator suit it too, but it must not keep away from the operator's Pods,
which may be on the only node: of the affinity it takes that to nodes alone. */}}
{{- define "retryable-tasks.hookPod" -}}
{{ include "retryable-tasks.pod" . }}
{{- with .Values.affinity.nodeAffinity }}
affinity:
  nodeAffinity: {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{/* Annotations of a hook object. Takes event and weight. */}}
{{- define "retryable-tasks.hookAnnotations" -}}
helm.sh/hook: {{ .event }}
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* ServiceAccount of a hook. Takes root, name, component and event. */}}
{{- define "retryable-tasks.hookServiceAccount" }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "retryable-tasks.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
  annotations: {{- include "retryable-tasks.hookAnnotations" (dict "event" .event "weight" -3) | nindent 4 }}
automountServiceAccountToken: false
{{- end }}

{{- define "retryable-tasks.logArgs" -}}
- {{ printf "--log-level=%s" .Values.log.level | quote }}
- --log-format={{ .Values.log.format }}
{{- end }}

{{/* What the schema of the values cannot say: how they go together. */}}
{{- define "retryable-tasks.check" -}}
{{- $lease := .Values.leaderElection }}
{{- if and (not $lease.enabled) (gt (int .Values.replicas) 1) }}
{{- fail "replicas above 1 need leaderElection.enabled: without it each replica would run every task" }}
{{- end }}
{{- if le (int $lease.leaseDurationSeconds) (int $lease.renewDeadlineSeconds) }}
{{- fail "leaderElection.leaseDurationSeconds must exceed renewDeadlineSeconds: a leader stops before the next starts" }}
{{- end }}
{{- if le (mul 2 $lease.renewDeadlineSeconds) (mul 3 $lease.retryPeriodSeconds) }}
{{- fail "leaderElection.renewDeadlineSeconds must be above 1.5 times retryPeriodSeconds: time for a second try" }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
{{- fail "serviceAccount.name is needed when serviceAccount.create is false" }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.service.enabled) }}
{{- fail "metrics.serviceMonitor needs metrics.service.enabled: it finds the operator by that Service" }}
{{- end }}
{{- $stop := add .Values.terminationGracePeriodSeconds 30 }}
{{- if lt (int .Values.removeFinalizersHook.timeoutSeconds) (int $stop) }}
{{- fail (printf "removeFinalizersHook.timeoutSeconds must be %d or more: 30 over terminationGracePeriodSeconds" $stop) }}
{{- end }}
{{- end }}
