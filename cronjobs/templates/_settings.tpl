{{/* The settings file. */}}

{{/* All settings: those of the values, and what the chart decides. */}}
{{- define "lanner.settings" -}}
{{- $settings := deepCopy .Values.settings }}
{{- $_ := set $settings.directory "adapter" "sql" }}
{{- $_ := set $settings.directory "url" (dict "file" "/etc/lanner/secrets/directory-url") }}
{{- $ledger := dict "adapter" "sql" "url" (dict "file" "/etc/lanner/secrets/ledger-url") }}
{{- $_ := set $settings "ledger" (merge $ledger (default dict $settings.ledger)) }}
{{- if eq $settings.messages.adapter "sql" }}
{{- $_ := set $settings.messages "url" (dict "file" "/etc/lanner/secrets/messages-url") }}
{{- end }}
{{- $_ := set $settings "limits" (dict "adapter" "dynamodb") }}
{{- $_ := set $settings "queue" (dict "adapter" "sqs") }}
{{- $listen := dict "listen" (printf "%s:%d" (include "lanner.host" .) (int .Values.http.port)) }}
{{- $_ := set $settings "http" (merge $listen (default dict $settings.http)) }}
{{- $settings = omit $settings "event_log" "state" "auth" "write_api" "read_api" "follow_limits" }}
{{- if .Values.messagePath.enabled }}
{{- $settings = merge (include "lanner.message-path.settings" . | fromYaml) $settings }}
{{- end }}
{{- include "lanner.toml" $settings }}
{{- end }}

{{/* What is listened on, as it stands in front of a port. */}}
{{- define "lanner.host" -}}
{{- if contains ":" .Values.http.address }}[{{ .Values.http.address }}]{{ else }}{{ .Values.http.address }}{{ end }}
{{- end }}

{{/* Sections as TOML; a list of tables becomes [[section]]. */}}
{{- define "lanner.toml" -}}
{{- range $section, $keys := . }}
{{- if kindIs "slice" $keys }}
{{- range $keys }}
[[{{ $section }}]]
{{- include "lanner.toml.keys" . }}
{{ end }}
{{- else if $keys }}
[{{ $section }}]
{{- include "lanner.toml.keys" $keys }}
{{ end }}
{{- end }}
{{- end }}

{{- define "lanner.toml.keys" -}}
{{- range $key, $value := . }}
{{ $key }} = {{ include "lanner.toml.value" $value }}
{{- end }}
{{- end }}

{{/* A JSON text is a TOML text; numbers of values are floats, and no setting is one. */}}
{{- define "lanner.toml.value" -}}
{{- if kindIs "map" . }}{ {{- range $key, $value := . }} {{ $key }} = {{ toRawJson $value }}{{ end }} }
{{- else if kindIs "float64" . }}{{ int64 . }}
{{- else }}{{ toRawJson . }}
{{- end }}
{{- end }}

{{/* What a job has different, as environment: workers.in_flight as LANNER_WORKERS_IN_FLIGHT. */}}
{{- define "lanner.settings.env" -}}
{{- range $section, $keys := . }}
{{- range $key, $value := $keys }}
- name: {{ printf "LANNER_%s_%s" $section $key | upper }}
  value: {{ if kindIs "float64" $value }}{{ int64 $value | quote }}{{ else }}{{ $value | quote }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
