variable "name" {
  description = "Name of the role and of its policy."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_+=,.@-]{1,64}$", var.name))
    error_message = "name: 1 to 64 letters, digits or any of _+=,.@-"
  }
}

variable "description" {
  description = "What the role is for."
  type        = string

  validation {
    condition     = length(var.description) > 0 && length(var.description) <= 1000
    error_message = "description: 1 to 1000 characters."
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

variable "namespace" {
  description = "Namespace of the service account."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "namespace: the name of a Kubernetes namespace."
  }
}

variable "service_account" {
  description = "The service account whose pods take the role."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", var.service_account))
    error_message = "service_account: the name of one Kubernetes service account, without wildcards."
  }
}

variable "statements" {
  description = "What the role may do. Every statement names its actions and its resources."
  type        = any

  validation {
    condition     = alltrue(flatten([for statement in var.statements : [for action in statement.Action : !strcontains(action, "*")]]))
    error_message = "statements: an action with a wildcard. Name each call."
  }

  validation {
    condition     = alltrue(flatten([for statement in var.statements : [for resource in statement.Resource : !strcontains(resource, "*")]]))
    error_message = "statements: a resource with a wildcard. Name each table, index, queue and key."
  }
}

variable "permissions_boundary_arn" {
  description = "A policy that bounds what the role can ever do; null = none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null ? true : can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn: null, or the ARN of a policy."
  }
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(lower(key), "aws:")])
    error_message = "tags: keys that begin with aws: are not yours to set."
  }
}
