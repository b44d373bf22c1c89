{{/* What a failed pod means for its Job, by the program's exit codes. */}}

{{- define "lanner.failures" -}}
podFailurePolicy:
  rules:
    # A pod that had to leave its node is no failure: the next one goes on where it stopped.
    - action: Ignore
      onPodConditions: [{ type: DisruptionTarget, status: "True" }]
    # 1 failed for good, 3 done in part, 42 configuration, 65 bad input: the same again would end the same. All else is tried again:
    # 75 busy, 2 also for a node whose clock is behind the slot, crashes.
    - action: FailJob
      onExitCodes: { containerName: lanner, operator: In, values: [1, 3, 42, 65] }
{{- end }}
