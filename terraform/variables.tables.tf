variable "table_prefix" {
  description = "What the names of the tables begin with: the setting dynamodb.table_prefix."
  type        = string
  default     = "lanner-"

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{0,200}$", var.table_prefix))
    error_message = "table_prefix: at most 200 letters, digits, _, - or dots."
  }
}

variable "capacity" {
  description = "Tables (messages, view_limits, state) with provisioned capacity, and its bounds; all others are paid by request."
  type = map(object({
    read  = object({ min = number, max = number })
    write = object({ min = number, max = number })
  }))
  default = {}

  validation {
    condition     = alltrue([for table in keys(var.capacity) : contains(["messages", "view_limits", "state"], table)])
    error_message = "capacity: there are the tables messages, view_limits and state."
  }

  validation {
    condition = alltrue(flatten([
      for bounds in values(var.capacity) : [for bound in [bounds.read, bounds.write] : bound.min >= 1 && bound.max >= bound.min]
    ]))
    error_message = "capacity: at least 1, and max not below min."
  }
}

variable "recovery_days" {
  description = "How many days back a table can be restored to any second."
  type        = number
  default     = 35

  validation {
    condition     = var.recovery_days >= 1 && var.recovery_days <= 35
    error_message = "recovery_days: 1 to 35."
  }
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete a table until this is false."
  type        = bool
  default     = true

  validation {
    condition     = var.deletion_protection != null
    error_message = "deletion_protection: true or false; null would silently be false."
  }
}
