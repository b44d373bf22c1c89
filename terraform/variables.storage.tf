variable "key_administrators" {
  description = "ARNs of who manages the key; empty = whom IAM allows it in this account."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.key_administrators : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(root|role/[^*]+|user/[^*]+)$", arn))])
    error_message = "key_administrators: each the ARN of a role, a user or an account's root, without wildcards."
  }
}

variable "key_users" {
  description = "ARNs of who else reads and writes what the key encrypts, such as the role that exports tables to the bucket."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.key_users : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(role/[^*]+|user/[^*]+)$", arn))])
    error_message = "key_users: each the ARN of a role or a user, without wildcards."
  }
}

variable "key_deletion_days" {
  description = "How many days the key can still be saved after somebody has scheduled its deletion."
  type        = number
  default     = 30

  validation {
    condition     = var.key_deletion_days >= 7 && var.key_deletion_days <= 30
    error_message = "key_deletion_days: 7 to 30."
  }
}

variable "bucket_name" {
  description = "Name of the bucket for exports and snapshots; null = NAME-ACCOUNT-REGION."
  type        = string
  default     = null

  validation {
    condition     = var.bucket_name == null ? true : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "bucket_name: 3 to 63 small letters, digits, dots or -"
  }
}

variable "noncurrent_days" {
  description = "How many days an object's version is kept after it was replaced or deleted."
  type        = number
  default     = 90

  validation {
    condition     = var.noncurrent_days >= 1
    error_message = "noncurrent_days: at least 1."
  }
}

variable "log_bucket" {
  description = "Name of a bucket of yours that takes the log of who touched what; null = no log."
  type        = string
  default     = null

  validation {
    condition     = var.log_bucket == null ? true : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.log_bucket))
    error_message = "log_bucket: null, or 3 to 63 small letters, digits, dots or -"
  }
}
