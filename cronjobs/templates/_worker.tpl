{{/* A job that runs on: its Deployment, its disruption budget, and what scales it. */}}

{{/* A job that is fed. Besides a job's context: "scaled", the template of its scaling. */}}
{{- define "lanner.worker" -}}
{{ include "lanner.deployment" . }}
{{- if .root.Values.autoscaling.enabled }}
---
{{ include .scaled . | trim }}
{{- end }}
{{- end }}

{{- define "lanner.deployment" -}}
{{- $values := .root.Values }}
{{- $checksum := include "lanner.settings" .root | sha256sum }}
{{- $pod := merge (dict "annotations" (dict "checksum/settings" $checksum)) . }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "lanner.job.name" . }}
  labels:
    {{- include "lanner.job.labels" . | nindent 4 }}
spec:
  {{- if not $values.autoscaling.enabled }}
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
    metadata:
      {{- include "lanner.pod.metadata" $pod | nindent 6 }}
    spec:
      {{- include "lanner.pod.spec" . | nindent 6 }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: topology.kubernetes.io/zone
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "lanner.job.selector" . | nindent 14 }}
      containers:
        - {{ include "lanner.container" . | nindent 10 | trim }}
          command: [lanner, {{ .job }}]
          {{- include "lanner.probes" . | nindent 10 }}
          readinessProbe:
            httpGet: { path: /readyz, port: http }
            periodSeconds: 5
            timeoutSeconds: 3
          {{- if .port }}
          # Who is told of this pod's end a little late is still answered.
          lifecycle: { preStop: { sleep: { seconds: 5 } } }
          {{- end }}
---
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
