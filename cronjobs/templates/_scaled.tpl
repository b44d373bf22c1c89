{{/* KEDA's scaling of a worker by what it is fed from. Besides a job's context: "fed" is what that is called. */}}

{{- define "lanner.scaled" -}}
{{- $values := .root.Values }}
{{- $by := .values.autoscaling }}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ include "lanner.job.name" . }}
  labels:
    {{- include "lanner.job.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    name: {{ include "lanner.job.name" . }}
  minReplicaCount: {{ $by.min }}
  maxReplicaCount: {{ $by.max }}
  pollingInterval: {{ $values.autoscaling.pollingIntervalSeconds }}
  cooldownPeriod: {{ $values.autoscaling.cooldownSeconds }}
  # When the {{ .fed }} cannot be asked, work goes on with what there is, and with one pod at least.
  fallback: { failureThreshold: 3, replicas: {{ max 1 $by.min }}, behavior: currentReplicasIfHigher }
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleDown:
          stabilizationWindowSeconds: 300
          policies: [{ type: Percent, value: 50, periodSeconds: 60 }]
{{- end }}

{{/* By the messages in its queue, in work or not, and by the age of the oldest. */}}
{{- define "lanner.scaled.by-queue" -}}
{{- $values := .root.Values }}
{{- $region := $values.settings.aws.region }}
{{- $queue := printf "%s%s" $values.settings.sqs.queue_prefix .queue }}
{{- $domain := ternary "amazonaws.com.cn" "amazonaws.com" (hasPrefix "cn-" $region) }}
{{- $by := .values.autoscaling }}
{{ include "lanner.scaled" (set . "fed" "queue") }}
  triggers:
    - type: aws-sqs-queue
      name: depth
      metricType: AverageValue
      # What a poll has found is good until the next: calls cost money.
      useCachedMetrics: true
      authenticationRef: { name: {{ include "lanner.name" .root }}-queues }
      metadata:
        queueURL: https://sqs.{{ $region }}.{{ $domain }}/{{ $values.autoscaling.accountId }}/{{ $queue }}
        queueLength: {{ $by.messagesPerReplica | int64 | quote }}
        awsRegion: {{ $region }}
        {{- with $values.settings.sqs.endpoint }}
        awsEndpoint: {{ . }}
        {{- end }}
        # Those in work and those that wait for another attempt are work, too.
        scaleOnInFlight: "true"
        scaleOnDelayed: "true"
    - type: aws-cloudwatch
      name: age
      metricType: AverageValue
      useCachedMetrics: true
      authenticationRef: { name: {{ include "lanner.name" .root }}-queues }
      metadata:
        namespace: AWS/SQS
        metricName: ApproximateAgeOfOldestMessage
        dimensionName: QueueName
        dimensionValue: {{ $queue }}
        awsRegion: {{ $region }}
        metricStat: Maximum
        metricStatPeriod: "60"
        # The newest minute often is not there yet.
        metricCollectionTime: "300"
        targetMetricValue: {{ $by.secondsPerReplica | int64 | quote }}
        # A queue that was idle for long has no age.
        minMetricValue: "0"
{{- end }}

{{/* By the events that are not yet readable: what the log has beyond the positions that the group has committed. */}}
{{- define "lanner.scaled.by-lag" -}}
{{- $log := .root.Values.settings.event_log }}
{{- $kafka := .root.Values.messagePath.kafka }}
{{- $mechanisms := dict "sasl-plain" "plaintext" "sasl-scram-sha-256" "scram_sha256" "sasl-scram-sha-512" "scram_sha512" }}
{{ include "lanner.scaled" (set . "fed" "log") }}
  triggers:
    - type: kafka
      name: lag
      metricType: AverageValue
      useCachedMetrics: true
      {{- if or $kafka.secret $kafka.configMap }}
      authenticationRef: { name: {{ include "lanner.name" .root }}-event-log }
      {{- end }}
      metadata:
        bootstrapServers: {{ $log.bootstrap | quote }}
        topic: {{ $log.topic_prefix }}events
        consumerGroup: {{ .job }}
        lagThreshold: {{ .values.autoscaling.eventsPerReplica | int64 | quote }}
        # A partition of which nothing is committed is read from its beginning.
        offsetResetPolicy: earliest
        tls: {{ ternary "disable" "enable" (eq $log.security "plaintext") }}
        sasl: {{ get $mechanisms $log.security | default "none" }}
{{- end }}
