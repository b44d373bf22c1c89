variable "name" {
  description = "Name of the table."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{3,255}$", var.name))
    error_message = "name: 3 to 255 letters, digits, _, - or dots."
  }
}

variable "hash_key" {
  description = "The partition key: its name to its type, S, N or B."
  type        = map(string)

  validation {
    condition     = length(var.hash_key) == 1 && alltrue([for type in values(var.hash_key) : contains(["S", "N", "B"], type)])
    error_message = "hash_key: one attribute of type S, N or B."
  }
}

variable "range_key" {
  description = "The sort key: its name to its type, S, N or B."
  type        = map(string)

  validation {
    condition     = length(var.range_key) == 1 && alltrue([for type in values(var.range_key) : contains(["S", "N", "B"], type)])
    error_message = "range_key: one attribute of type S, N or B."
  }
}

variable "index" {
  description = "A keys-only index, its keys given like those of the table."
  type = object({
    name      = string
    hash_key  = map(string)
    range_key = map(string)
  })
  default = null

  validation {
    condition = var.index == null ? true : alltrue([
      for key in [var.index.hash_key, var.index.range_key] :
      length(key) == 1 && alltrue([for type in values(key) : contains(["S", "N", "B"], type)])
    ])
    error_message = "index: each of its keys is one attribute of type S, N or B."
  }
}

variable "expires_by" {
  description = "The attribute by which DynamoDB drops items: seconds since 1970."
  type        = string
  default     = null

  validation {
    condition     = var.expires_by == null ? true : length(var.expires_by) > 0
    error_message = "expires_by: null, or the name of an attribute."
  }
}

variable "capacity" {
  description = "Bounds of the provisioned capacity of the table and of its index, between which it is scaled at 70 % of use; null = paid by request."
  type = object({
    read  = object({ min = number, max = number })
    write = object({ min = number, max = number })
  })
  default = null

  validation {
    condition = var.capacity == null ? true : alltrue([
      for bounds in [var.capacity.read, var.capacity.write] : bounds.min >= 1 && bounds.max >= bounds.min
    ])
    error_message = "capacity: at least 1, and max not below min."
  }
}

variable "recovery_days" {
  description = "How many days back the table can be restored to any second."
  type        = number
  default     = 35

  validation {
    condition     = var.recovery_days >= 1 && var.recovery_days <= 35
    error_message = "recovery_days: 1 to 35."
  }
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the table until this is false."
  type        = bool
  default     = true

  validation {
    condition     = var.deletion_protection != null
    error_message = "deletion_protection: true or false; null would silently be false."
  }
}

variable "kms_key_arn" {
  description = "The key that encrypts the table."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a key is needed, not an alias or an id."
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
