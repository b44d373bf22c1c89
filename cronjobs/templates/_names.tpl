{{/* Names and labels. A job's context is (dict "root" $ "job" "merge-newest" "values" .Values.mergeNewest). */}}

{{- define "lanner.name" -}}
{{- if contains "lanner" .Release.Name }}{{ .Release.Name }}{{ else }}{{ printf "%s-lanner" .Release.Name }}{{ end }}
{{- end }}

{{/* The object of a job. */}}
{{- define "lanner.job.name" -}}
{{ include "lanner.name" .root }}-{{ .job }}
{{- end }}

{{/* What the pods of this release have in common; never changes, because selectors cannot. */}}
{{- define "lanner.selector" -}}
app.kubernetes.io/name: lanner
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lanner.job.selector" -}}
{{ include "lanner.selector" .root }}
app.kubernetes.io/component: {{ .job }}
{{- end }}

{{- define "lanner.labels" -}}
{{ include "lanner.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "lanner.job.labels" -}}
{{ include "lanner.labels" .root }}
app.kubernetes.io/component: {{ .job }}
{{- end }}
