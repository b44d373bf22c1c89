{{/* What only the message path has. Of a job's context: "kafka" says that it reaches the log, "keys" that it checks tokens. */}}

{{/* The sections of the settings that the limit path does without. */}}
{{- define "lanner.message-path.settings" -}}
{{- $log := dict "adapter" "kafka" }}
{{- if .Values.messagePath.kafka.configMap }}
{{- $_ := set $log "authorities_file" "/etc/lanner/kafka-ca.pem" }}
{{- end }}
{{- $settings := .Values.settings }}
{{- $listen := include "lanner.host" . }}
{{- dict
  "event_log" (merge $log $settings.event_log)
  "state" (dict "adapter" "dynamodb")
  "auth" (default dict $settings.auth)
  "write_api" (merge (dict "listen" (printf "%s:%d" $listen (int .Values.serveWrites.port))) (default dict $settings.write_api))
  "read_api" (merge (dict "listen" (printf "%s:%d" $listen (int .Values.serveReads.port))) (default dict $settings.read_api))
  "follow_limits" (default dict $settings.follow_limits)
  | toYaml }}
{{- end }}

{{/* Files in /etc/lanner besides those of all jobs. */}}
{{- define "lanner.message-path.files" -}}
{{- $path := .root.Values.messagePath }}
{{- if and $path.enabled .kafka }}
{{- with $path.kafka }}
{{- if .secret }}
- secret:
    name: {{ .secret }}
    items: [{ key: {{ .userKey }}, path: secrets/kafka-user }, { key: {{ .passwordKey }}, path: secrets/kafka-password }]
{{- end }}
{{- if .configMap }}
- configMap:
    name: {{ .configMap }}
    items: [{ key: {{ .caKey }}, path: kafka-ca.pem }]
{{- end }}
{{- end }}
{{- end }}
{{- if and $path.enabled .keys }}
- secret:
    name: {{ $path.keys.secret }}
    items: [{ key: {{ $path.keys.key }}, path: secrets/jwks.json }]
{{- end }}
{{- end }}

{{/* Where these files are. */}}
{{- define "lanner.message-path.env" -}}
{{- $path := .root.Values.messagePath }}
{{- if and $path.enabled .kafka $path.kafka.secret }}
- name: LANNER_EVENT_LOG_USER_FILE
  value: /etc/lanner/secrets/kafka-user
- name: LANNER_EVENT_LOG_PASSWORD_FILE
  value: /etc/lanner/secrets/kafka-password
{{- end }}
{{- if and $path.enabled .keys }}
- name: LANNER_AUTH_JWKS_FILE
  value: /etc/lanner/secrets/jwks.json
{{- end }}
{{- end }}

{{/* What of the message path must fit each other. */}}
{{- define "lanner.message-path.checks" -}}
{{- range $job := list "serveWrites" "serveReads" }}
{{- $port := (index $.Values $job).port }}
{{- if eq (int $port) (int $.Values.http.port) }}
{{- fail (printf "%s.port is %v, where http.port answers already" $job $port) }}
{{- end }}
{{- end }}
{{- $partitions := .Values.settings.event_log.partitions }}
{{- if gt (int .Values.buildReadModel.autoscaling.max) (int $partitions) }}
{{- fail (printf "buildReadModel.autoscaling.max is %v, above settings.event_log.partitions, which is %v" .Values.buildReadModel.autoscaling.max $partitions) }}
{{- end }}
{{- end }}
