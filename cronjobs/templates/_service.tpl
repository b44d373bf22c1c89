{{/* A job that answers over HTTP: its Deployment, the Service in front of it, its scaling by load. */}}

{{- define "lanner.service" -}}
{{- $port := int .values.port }}
{{ include "lanner.deployment" (set . "port" $port) }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ include "lanner.job.name" . }}
  labels:
    {{- include "lanner.job.labels" . | nindent 4 }}
spec:
  selector:
    {{- include "lanner.job.selector" . | nindent 4 }}
  ports:
    - { name: http, port: {{ $port }}, targetPort: api, protocol: TCP, appProtocol: http }
{{- if .root.Values.autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "lanner.job.name" . }}
  labels:
    {{- include "lanner.job.labels" . | nindent 4 }}
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: {{ include "lanner.job.name" . }} }
  {{- with .values.autoscaling }}
  minReplicas: {{ .min }}
  maxReplicas: {{ .max }}
  metrics:
    - type: Resource
      resource: { name: cpu, target: { type: Utilization, averageUtilization: {{ .cpuPercent }} } }
  {{- end }}
  behavior:
    scaleDown:
      stabilizationWindowSeconds: 300
      policies: [{ type: Percent, value: 50, periodSeconds: 60 }]
{{- end }}
{{- end }}
