{{/* A Job that somebody asked for. Besides a job's context: "command", and "subject", a word of it for the name. */}}

{{- define "lanner.by-hand" -}}
{{- $job := set . "env" (list (dict "name" "LANNER_ACTOR" "value" .values.actor)) }}
{{- /* The same request has the same name, so that applying it twice does it once. */}}
{{- $request := list .command .values.actor | toJson | sha256sum | trunc 8 }}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "lanner.job.name" . }}-{{ .subject }}-{{ $request }}
  labels:
    {{- include "lanner.job.labels" . | nindent 4 }}
spec:
  activeDeadlineSeconds: {{ .values.activeDeadlineSeconds }}
  ttlSecondsAfterFinished: {{ .values.ttlSecondsAfterFinished }}
  backoffLimit: 3
  {{- include "lanner.failures" . | nindent 2 }}
  template:
    metadata:
      {{- include "lanner.pod.metadata" . | nindent 6 }}
    spec:
      restartPolicy: Never
      {{- include "lanner.pod.spec" . | nindent 6 }}
      containers:
        - {{ include "lanner.container" $job | nindent 10 | trim }}
          command:
            {{- prepend .command "lanner" | toYaml | nindent 12 }}
{{- end }}
