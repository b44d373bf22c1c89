variable "name" {
  description = "What the names of roles, of the key's alias and of the bucket begin with."
  type        = string
  default     = "lanner"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,29}$", var.name))
    error_message = "name: 1 to 30 small letters, digits or -, a letter first."
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
