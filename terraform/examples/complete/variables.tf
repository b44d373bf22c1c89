variable "environment" {
  description = "Which installation this is."
  type        = string
  default     = "production"

  validation {
    condition     = contains(["staging", "production"], var.environment)
    error_message = "environment: staging or production."
  }
}

variable "region" {
  description = "The region that everything is made in."
  type        = string
  default     = "eu-central-1"

  validation {
    condition     = can(regex("^[a-z]{2,3}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region: such as eu-central-1."
  }
}

variable "oidc_provider_arn" {
  description = "The cluster's OIDC provider in IAM."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/[^*]+$", var.oidc_provider_arn))
    error_message = "oidc_provider_arn: the ARN of an OIDC provider, arn:aws:iam::ACCOUNT:oidc-provider/ISSUER."
  }
}

variable "alarm_actions" {
  description = "ARNs of what is told when an alarm begins and ends, such as the SNS topic of whoever is on call."
  type        = list(string)

  validation {
    condition     = length(var.alarm_actions) > 0 && alltrue([for arn in var.alarm_actions : can(regex("^arn:[a-z-]+:", arn))])
    error_message = "alarm_actions: at least one ARN, or nobody hears an alarm."
  }
}

variable "log_bucket" {
  description = "Name of the bucket that takes the log of who touched what."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.log_bucket))
    error_message = "log_bucket: 3 to 63 small letters, digits, dots or -"
  }
}
