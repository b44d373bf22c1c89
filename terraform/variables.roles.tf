variable "oidc_provider_arn" {
  description = "The cluster's OIDC provider in IAM."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/[^*]+$", var.oidc_provider_arn))
    error_message = "oidc_provider_arn: the ARN of an OIDC provider, arn:aws:iam::ACCOUNT:oidc-provider/ISSUER."
  }
}

variable "namespace" {
  description = "The namespace that the chart is installed in."
  type        = string
  default     = "lanner"

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "namespace: the name of a Kubernetes namespace."
  }
}

variable "service_accounts" {
  description = "The service account of a job or command (extract-organizations, collect-rooms, merge-newest, serve-writes, build-read-model, serve-reads, follow-limits, rerun, operate, import); left out: NAME-JOB, which is what the chart calls it in a release of that name."
  type        = map(string)
  default     = {}

  validation {
    condition = alltrue([
      for job in keys(var.service_accounts) :
      contains([
        "extract-organizations", "collect-rooms", "merge-newest", "serve-writes", "build-read-model", "serve-reads",
        "follow-limits", "rerun", "operate", "import",
      ], job)
    ])
    error_message = "service_accounts: there are extract-organizations, collect-rooms, merge-newest, serve-writes, build-read-model, serve-reads, follow-limits, rerun, operate and import."
  }

  validation {
    condition     = alltrue([for name in values(var.service_accounts) : can(regex("^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", name))])
    error_message = "service_accounts: each the name of one Kubernetes service account, without wildcards."
  }

  validation {
    condition     = length(distinct(values(var.service_accounts))) == length(var.service_accounts)
    error_message = "service_accounts: two jobs with one service account would have one role's rights or the other's."
  }
}

variable "message_path" {
  description = "Whether the jobs of the message path (serve-writes, build-read-model, serve-reads) and follow-limits have roles: the chart's messagePath.enabled."
  type        = bool
  default     = false

  validation {
    condition     = var.message_path != null
    error_message = "message_path: true or false; null would silently be false."
  }
}

variable "by_hand" {
  description = "Which roles are made beside those of the jobs, for what people start: operate (retry, explain, doctor, ...) and import."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.by_hand : contains(["operate", "import"], name)])
    error_message = "by_hand: there are operate and import."
  }
}

variable "permissions_boundary_arn" {
  description = "A policy that bounds what the roles can ever do; null = none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null ? true : can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn: null, or the ARN of a policy."
  }
}
