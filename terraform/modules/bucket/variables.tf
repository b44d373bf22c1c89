variable "name" {
  description = "Name of the bucket, unique in the world."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.name))
    error_message = "name: 3 to 63 small letters, digits, dots or -"
  }
}

variable "kms_key_arn" {
  description = "The key that encrypts the objects."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a key is needed, not an alias or an id."
  }
}

variable "noncurrent_days" {
  description = "How many days a version is kept after it was replaced or deleted."
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

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(lower(key), "aws:")])
    error_message = "tags: keys that begin with aws: are not yours to set."
  }
}
