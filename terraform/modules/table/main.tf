locals {
  provisioned = var.capacity != null
  key         = merge(var.hash_key, var.range_key)
  # What only the index has, beside what it shares with the table.
  attributes = merge(local.key, var.index == null ? {} : merge(var.index.hash_key, var.index.range_key))
  hash_key   = one(keys(var.hash_key))
  range_key  = one(keys(var.range_key))
}

resource "aws_dynamodb_table" "this" {
  name      = var.name
  hash_key  = local.hash_key
  range_key = local.range_key
  tags      = var.tags

  billing_mode                = local.provisioned ? "PROVISIONED" : "PAY_PER_REQUEST"
  read_capacity               = local.provisioned ? var.capacity.read.min : null
  write_capacity              = local.provisioned ? var.capacity.write.min : null
  deletion_protection_enabled = var.deletion_protection

  dynamic "attribute" {
    for_each = local.attributes

    content {
      name = attribute.key
      type = attribute.value
    }
  }

  # Keys only, and sparse: an item stands in it while it has the index's partition key.
  dynamic "global_secondary_index" {
    for_each = var.index == null ? [] : [var.index]

    content {
      name            = global_secondary_index.value.name
      hash_key        = one(keys(global_secondary_index.value.hash_key))
      range_key       = one(keys(global_secondary_index.value.range_key))
      projection_type = "KEYS_ONLY"
      read_capacity   = local.provisioned ? var.capacity.read.min : null
      write_capacity  = local.provisioned ? var.capacity.write.min : null
    }
  }

  dynamic "ttl" {
    for_each = var.expires_by == null ? [] : [var.expires_by]

    content {
      enabled        = true
      attribute_name = ttl.value
    }
  }

  point_in_time_recovery {
    enabled                 = true
    recovery_period_in_days = var.recovery_days
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }

  lifecycle {
    # Autoscaling moves these, those of the index, too; its layout is the program's and never changes under a table.
    ignore_changes = [read_capacity, write_capacity, global_secondary_index]
  }
}
