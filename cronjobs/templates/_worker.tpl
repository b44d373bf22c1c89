{{/* A job that runs on: its Deployment or its StatefulSet, its disruption budget, and what scales it. */}}

{{/* A job that is fed. Besides a job's context: "scaled", the template of its scaling. */}}
{{- define "lanner.worker" -}}
{{ include "lanner.deployment" . }}
{{- if .root.Values.autoscaling.enabled }}
---
{{ include .scaled . | trim }}
{{- end }}
{{- end }}

{{- define "lanner.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "lanner.job.name" . }}
  labels:
    {{- include "lanner.job.labels" . | nindent 4 }}
spec:
  {{- if not .root.Values.autoscaling.enabled }}
  replicas: {{ .values.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  # Pods that do not come up replace none.
  strategy:
    rollingUpdate: { maxSurge: 1, maxUnavailable: 0 }
  minReadySeconds: 10
  selector:
    matchLabels:
      {{- include "lanner.job.selector" . | nindent 6 }}
  template:
    {{- include "lanner.worker.pod" . | nindent 4 }}
---
{{ include "lanner.budget" . }}
{{- end }}

{{/* One pod for each shard, which knows its number and how many there are: never two of one. Their number is followed by nothing. */}}
{{- define "lanner.shards" -}}
{{- $section := .job | replace "-" "_" | upper }}
{{- $index := dict "fieldRef" (dict "fieldPath" "metadata.labels['apps.kubernetes.io/pod-index']") }}
{{- $_ := set . "env" (list
  (dict "name" (printf "LANNER_%s_SHARD" $section) "valueFrom" $index)
  (dict "name" (printf "LANNER_%s_SHARDS" $section) "value" (toString .values.shards))) }}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ include "lanner.job.name" . }}
  labels:
    {{- include "lanner.job.labels" . | nindent 4 }}
spec:
  replicas: {{ .values.shards }}
  serviceName: {{ include "lanner.job.name" . }}
  revisionHistoryLimit: 3
  # No shard waits for another.
  podManagementPolicy: Parallel
  minReadySeconds: 10
  selector:
    matchLabels:
      {{- include "lanner.job.selector" . | nindent 6 }}
  template:
    {{- include "lanner.worker.pod" . | nindent 4 }}
---
# A StatefulSet has one; nobody asks it.
apiVersion: v1
kind: Service
metadata:
  name: {{ include "lanner.job.name" . }}
  labels:
    {{- include "lanner.job.labels" . | nindent 4 }}
spec:
  clusterIP: None
  selector:
    {{- include "lanner.job.selector" . | nindent 4 }}
  ports:
    - { name: http, port: {{ .root.Values.http.port }}, targetPort: http, protocol: TCP, appProtocol: http }
---
{{ include "lanner.budget" . }}
{{- end }}

{{/* The pods of a job that runs on. */}}
{{- define "lanner.worker.pod" -}}
{{- $checksum := include "lanner.settings" .root | sha256sum }}
{{- $pod := merge (dict "annotations" (dict "checksum/settings" $checksum)) . -}}
metadata:
  {{- include "lanner.pod.metadata" $pod | nindent 2 }}
spec:
  {{- include "lanner.pod.spec" . | nindent 2 }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: topology.kubernetes.io/zone
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "lanner.job.selector" . | nindent 10 }}
  containers:
    - {{ include "lanner.container" . | nindent 6 | trim }}
      command: [lanner, {{ .job }}]
      {{- include "lanner.probes" . | nindent 6 }}
      readinessProbe:
        httpGet: { path: /readyz, port: http }
        periodSeconds: 5
        timeoutSeconds: 3
      {{- if .port }}
      # Who is told of this pod's end a little late is still answered.
      lifecycle: { preStop: { sleep: { seconds: 5 } } }
      {{- end }}
{{- end }}

{{- define "lanner.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "lanner.job.name" . }}
  labels:
    {{- include "lanner.job.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  # A pod that is broken anyway holds up no drain.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "lanner.job.selector" . | nindent 6 }}
{{- end }}
