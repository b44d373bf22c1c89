variable "name" {
  description = "Name of the queue; its dead-letter queue has -dead-letters behind it."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,67}$", var.name))
    error_message = "name: 1 to 67 letters, digits, - or _ (SQS takes 80, and -dead-letters stands behind it)."
  }
}

variable "kms_key_arn" {
  description = "The key that encrypts the messages."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a key is needed, not an alias or an id."
  }
}

variable "retention_seconds" {
  description = "How long a message is kept."
  type        = number

  validation {
    condition     = var.retention_seconds >= 60 && var.retention_seconds <= 1209600
    error_message = "retention_seconds: SQS keeps a message for 60 s to 14 days (1209600 s)."
  }
}

variable "dead_letter_retention_seconds" {
  description = "How long a dead letter is kept, counted from when the message was first sent."
  type        = number

  validation {
    condition     = var.dead_letter_retention_seconds >= 60 && var.dead_letter_retention_seconds <= 1209600
    error_message = "dead_letter_retention_seconds: SQS keeps a message for 60 s to 14 days (1209600 s)."
  }

  validation {
    condition     = var.dead_letter_retention_seconds > var.retention_seconds
    error_message = "dead_letter_retention_seconds must be more than retention_seconds: SQS counts it from when a message was first sent, so that a dead letter would be gone as soon as it arrives, or soon after."
  }
}

variable "receives_max" {
  description = "How often a message is received before SQS gives it up."
  type        = number

  validation {
    condition     = var.receives_max >= 1 && var.receives_max <= 1000
    error_message = "receives_max: 1 to 1000."
  }
}

variable "alarm_oldest_seconds" {
  description = "The age of the oldest message above which an alarm is raised."
  type        = number

  validation {
    condition     = var.alarm_oldest_seconds > 0 && var.alarm_oldest_seconds < var.retention_seconds
    error_message = "alarm_oldest_seconds: more than 0 and less than retention_seconds, for a message that is gone has no age."
  }
}

variable "alarm_depth" {
  description = "The number of waiting messages above which an alarm is raised."
  type        = number

  validation {
    condition     = var.alarm_depth >= 1
    error_message = "alarm_depth: at least 1."
  }
}

variable "alarm_actions" {
  description = "ARNs of what is told when an alarm begins and ends, such as SNS topics."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.alarm_actions : can(regex("^arn:[a-z-]+:", arn))])
    error_message = "alarm_actions: each must be an ARN."
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
