{{/* What values.schema.json cannot say: numbers that must fit each other, and the length of names. */}}

{{- define "lanner.checks" -}}
{{- /* A CronJob's name leaves room for the suffix of its Jobs: 52 characters. */}}
{{- if gt (len (include "lanner.name" .)) 30 }}
{{- fail (printf "the release's name %q is too long: %q must have at most 30 characters" .Release.Name (include "lanner.name" .)) }}
{{- end }}
{{- range $name, $_ := .Values.networkPolicy.egress.more }}
{{- if hasKey $.Values.networkPolicy.egress $name }}
{{- fail (printf "networkPolicy.egress.more.%s has the name of networkPolicy.egress.%s" $name $name) }}
{{- end }}
{{- end }}
{{- range $job := list "collectRooms" "mergeNewest" "serveWrites" "buildReadModel" "serveReads" }}
{{- $values := index $.Values $job }}
{{- if gt (int $values.autoscaling.min) (int $values.autoscaling.max) }}
{{- fail (printf "%s.autoscaling.min is %v, above max, which is %v" $job $values.autoscaling.min $values.autoscaling.max) }}
{{- end }}
{{- end }}
{{- if .Values.messagePath.enabled }}{{ include "lanner.message-path.checks" . }}{{ end }}
{{- with .Values.settings.workers }}
{{- if and .backoff_min_ms .backoff_max_ms }}
{{- if gt (int64 .backoff_min_ms) (int64 .backoff_max_ms) }}
{{- fail (printf "settings.workers.backoff_min_ms is %v, above backoff_max_ms, which is %v" .backoff_min_ms .backoff_max_ms) }}
{{- end }}
{{- end }}
{{- end }}
{{- /* A variable that belongs to an adapter that is not chosen would stop the program. */}}
{{- $dynamodb := eq .Values.settings.messages.adapter "dynamodb" }}
{{- range $job := list "extractOrganizations" "collectRooms" "mergeNewest" "serveWrites" "buildReadModel" "serveReads" "followLimits" "rerun" "operate" }}
{{- range $key, $_ := (index $.Values $job).settings.messages }}
{{- if ne $dynamodb (eq $key "rooms_in_flight") }}
{{- fail (printf "%s.settings.messages.%s does not belong to settings.messages.adapter %q" $job $key $.Values.settings.messages.adapter) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
