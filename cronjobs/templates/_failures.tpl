{{/* What a failed pod means for its Job. */}}

{{- define "lanner.failures" -}}
podFailurePolicy:
  rules:
    # A pod that had to leave its node is no failure: the next one goes on where it stopped.
    - action: Ignore
      onPodConditions: [{ type: DisruptionTarget, status: "True" }]
    # The same again would end the same: 1 failed, 2 usage, 3 done in part, 4 runs differ, 42 configuration, 65 bad input. All
    # else is tried again: 75 busy or interrupted, crashes.
    - action: FailJob
      onExitCodes: { containerName: lanner, operator: In, values: [1, 2, 3, 4, 42, 65] }
{{- end }}
