# What the program calls things. Its settings know two prefixes, sqs.queue_prefix and dynamodb.table_prefix; the rest is fixed.

locals {
  queues = {
    organizations = "${var.queue_prefix}organizations"
    rooms         = "${var.queue_prefix}rooms"
  }

  tables = {
    messages = {
      name       = "${var.table_prefix}messages"
      hash_key   = { r = "N" }
      range_key  = { m = "N" }
      index      = { name = "live_ids", hash_key = { l = "N" }, range_key = { m = "N" } }
      expires_by = null
    }
    view_limits = {
      name       = "${var.table_prefix}view_limits"
      hash_key   = { shard = "N" }
      range_key  = { organization = "N" }
      index      = null
      expires_by = null
    }
    state = {
      name       = "${var.table_prefix}state"
      hash_key   = { family = "S" }
      range_key  = { name = "S" }
      index      = null
      expires_by = "expires_at"
    }
  }
}
