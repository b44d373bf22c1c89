# A table whose items expire, and which has no index.

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

run "expiry_and_no_index" {
  command = apply

  module {
    source = "./modules/table"
  }

  variables {
    index      = null
    hash_key   = { family = "S" }
    range_key  = { name = "S" }
    expires_by = "expires_at"
  }

  assert {
    condition     = aws_dynamodb_table.this.ttl[0].enabled && aws_dynamodb_table.this.ttl[0].attribute_name == "expires_at"
    error_message = "items expire"
  }

  assert {
    condition     = length(aws_dynamodb_table.this.global_secondary_index) == 0 && output.index_arn == null
    error_message = "no index"
  }
}
