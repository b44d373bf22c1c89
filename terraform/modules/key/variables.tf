variable "alias" {
  description = "Alias of the key, without alias/ in front."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9/_-]{1,250}$", var.alias)) && !startswith(var.alias, "aws/")
    error_message = "alias: 1 to 250 letters, digits, /, _ or -, and aws/ is AWS's own."
  }
}

variable "partition" {
  description = "The partition of AWS, such as aws."
  type        = string

  validation {
    condition     = can(regex("^aws[a-z-]*$", var.partition))
    error_message = "partition: aws, aws-cn, aws-us-gov, ..."
  }
}

variable "account_id" {
  description = "The account that the key is in."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id: 12 digits."
  }
}

variable "services" {
  description = "The services through which the key is used, as KMS calls them: dynamodb, s3 and sqs to their names in the region."
  type        = map(string)

  validation {
    condition     = toset(keys(var.services)) == toset(["dynamodb", "s3", "sqs"]) && alltrue([for name, of in var.services : startswith(of, "${name}.")])
    error_message = "services: dynamodb, s3 and sqs, each such as sqs.eu-central-1.amazonaws.com."
  }
}

variable "administrators" {
  description = "ARNs of who manages the key; empty = whom IAM allows it in this account."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.administrators : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(root|role/[^*]+|user/[^*]+)$", arn))])
    error_message = "administrators: each the ARN of a role, a user or an account's root, without wildcards."
  }
}

variable "users" {
  description = "ARNs of who reads and writes what the key encrypts."
  type        = list(string)

  validation {
    condition     = alltrue([for arn in var.users : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(role/[^*]+|user/[^*]+)$", arn))])
    error_message = "users: each the ARN of a role or a user, without wildcards."
  }
}

variable "deletion_days" {
  description = "How many days the key can still be saved after somebody has scheduled its deletion."
  type        = number
  default     = 30

  validation {
    condition     = var.deletion_days >= 7 && var.deletion_days <= 30
    error_message = "deletion_days: 7 to 30."
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
