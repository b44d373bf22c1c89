variable "queue_prefix" {
  description = "What the names of the queues begin with: the setting sqs.queue_prefix."
  type        = string
  default     = "lanner-"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{0,54}$", var.queue_prefix))
    error_message = "queue_prefix: at most 54 letters, digits, - or _ (SQS takes names of 80)."
  }
}

variable "queue_retention_days" {
  description = "How many days a queue keeps a message."
  type        = number
  default     = 4

  validation {
    condition     = var.queue_retention_days >= 1 && var.queue_retention_days <= 14
    error_message = "queue_retention_days: 1 to 14, SQS keeps nothing longer."
  }
}

variable "dead_letter_retention_days" {
  description = "How many days a dead letter is kept, counted from when the message was first sent; more than queue_retention_days."
  type        = number
  default     = 14

  validation {
    condition     = var.dead_letter_retention_days >= 1 && var.dead_letter_retention_days <= 14
    error_message = "dead_letter_retention_days: 1 to 14, SQS keeps nothing longer."
  }

  validation {
    condition     = var.dead_letter_retention_days > var.queue_retention_days
    error_message = "dead_letter_retention_days must be more than queue_retention_days: SQS counts it from when a message was first sent, so that a dead letter would be gone as soon as it arrives, or soon after."
  }
}

variable "receives_max" {
  description = "How often a message is received before SQS gives it up. A safety net: the program parks an organization long before (workers.attempts_max)."
  type        = number
  default     = 100

  validation {
    condition     = var.receives_max >= 10 && var.receives_max <= 1000
    error_message = "receives_max: 10 to 1000; with fewer, SQS would take away what the program is still trying."
  }
}

variable "alarm_oldest_minutes" {
  description = "The age of a queue's oldest message above which an alarm is raised."
  type        = number
  default     = 60

  validation {
    condition     = var.alarm_oldest_minutes >= 1 && var.alarm_oldest_minutes < 1440
    error_message = "alarm_oldest_minutes: 1 to 1439, less than the shortest retention."
  }
}

variable "alarm_depth" {
  description = "The number of waiting messages above which an alarm is raised: set it above the number of free organizations, all of which a run sends at once."
  type        = number
  default     = 100000

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
