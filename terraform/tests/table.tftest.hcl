# A table, its index, and how it is paid.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name        = "lanner-messages"
  hash_key    = { r = "N" }
  range_key   = { m = "N" }
  index       = { name = "live_ids", hash_key = { l = "N" }, range_key = { m = "N" } }
  kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/k"
}

run "by_request" {
  command = apply

  module {
    source = "./modules/table"
  }

  assert {
    condition     = aws_dynamodb_table.this.hash_key == "r" && aws_dynamodb_table.this.range_key == "m"
    error_message = "keys"
  }

  assert {
    condition     = { for a in aws_dynamodb_table.this.attribute : a.name => a.type } == { r = "N", m = "N", l = "N" }
    error_message = "attributes of both keys, each once"
  }

  assert {
    condition = alltrue([
      for index in aws_dynamodb_table.this.global_secondary_index :
      index.name == "live_ids" && index.hash_key == "l" && index.range_key == "m" && index.projection_type == "KEYS_ONLY"
    ]) && length(aws_dynamodb_table.this.global_secondary_index) == 1
    error_message = "the sparse index holds keys only"
  }

  assert {
    condition     = aws_dynamodb_table.this.billing_mode == "PAY_PER_REQUEST" && length(aws_appautoscaling_target.this) == 0
    error_message = "paid by request, and nothing to scale"
  }

  assert {
    condition = (
      aws_dynamodb_table.this.deletion_protection_enabled
      && aws_dynamodb_table.this.point_in_time_recovery[0].enabled
      && aws_dynamodb_table.this.point_in_time_recovery[0].recovery_period_in_days == 35
      && aws_dynamodb_table.this.server_side_encryption[0].enabled
      && aws_dynamodb_table.this.server_side_encryption[0].kms_key_arn == var.kms_key_arn
    )
    error_message = "protected, recoverable, encrypted"
  }

  assert {
    condition     = length(aws_dynamodb_table.this.ttl) == 0 && output.index_arn == "${output.arn}/index/live_ids" && output.name == var.name
    error_message = "no expiry; the index by its own ARN"
  }
}
