{{/* What the pods of all jobs have in common. */}}

{{- define "lanner.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{- define "lanner.pod.metadata" -}}
labels:
  {{- include "lanner.job.labels" . | nindent 2 }}
  {{- with .root.Values.pod.labels }}{{ toYaml . | nindent 2 }}{{ end }}
annotations:
  kubectl.kubernetes.io/default-container: lanner
  {{- with .annotations }}{{ toYaml . | nindent 2 }}{{ end }}
  {{- with .root.Values.pod.annotations }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}

{{/* Everything of a pod but its containers. */}}
{{- define "lanner.pod.spec" -}}
serviceAccountName: {{ include "lanner.job.name" . }}
automountServiceAccountToken: false
# Services called lanner would come as variables LANNER_….
enableServiceLinks: false
# The program ends within 10 s of SIGTERM: workers.stop_grace_ms is at most 8000.
terminationGracePeriodSeconds: {{ ternary 20 15 (hasKey . "port") }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .root.Values.pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.pod.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.pod.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: lanner
    {{- include "lanner.pod.files" . | nindent 4 }}
{{- end }}

{{/* The settings, the addresses of the databases, their certificate authorities: one folder, /etc/lanner. */}}
{{- define "lanner.pod.files" -}}
{{- $values := .root.Values -}}
projected:
  defaultMode: 0440
  sources:
    - configMap:
        name: {{ include "lanner.name" .root }}-settings
        items: [{ key: lanner.toml, path: lanner.toml }]
    {{- range $database := list "directory" "ledger" "messages" }}
    {{- $at := index $values.databases $database }}
    {{- if $at.secret }}
    - secret:
        name: {{ $at.secret }}
        items: [{ key: {{ $at.key }}, path: secrets/{{ $database }}-url }]
    {{- end }}
    {{- end }}
    {{- with $values.databases.ca }}
    {{- if .configMap }}
    - configMap:
        name: {{ .configMap }}
        items: [{ key: {{ .key }}, path: database-ca.pem }]
    {{- end }}
    {{- end }}
    {{- with include "lanner.message-path.files" . | trim }}{{ . | nindent 4 }}{{ end }}
{{- end }}

{{/* The container but its arguments and probes; "env" of the context comes first. */}}
{{- define "lanner.container" -}}
name: lanner
image: {{ include "lanner.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
env:
  - name: LANNER_CONFIG
    value: /etc/lanner/lanner.toml
  {{- with .env }}{{ toYaml . | nindent 2 }}{{ end }}
  {{- with include "lanner.message-path.env" . | trim }}{{ . | nindent 2 }}{{ end }}
  {{- with include "lanner.settings.env" .values.settings | trim }}{{ . | nindent 2 }}{{ end }}
  {{- range $name, $value := .root.Values.pod.env }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
resources: {{- toYaml .values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
volumeMounts:
  - { name: lanner, mountPath: /etc/lanner, readOnly: true }
{{- end }}

{{/* Answered once the ports are open; migrations and waiting for a database come before. */}}
{{- define "lanner.probes" -}}
ports:
  - { name: http, containerPort: {{ .root.Values.http.port }}, protocol: TCP }
  {{- with .port }}
  - { name: api, containerPort: {{ . }}, protocol: TCP }
  {{- end }}
startupProbe:
  httpGet: { path: /livez, port: http }
  periodSeconds: 2
  failureThreshold: 150
livenessProbe:
  httpGet: { path: /livez, port: http }
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
{{- end }}
