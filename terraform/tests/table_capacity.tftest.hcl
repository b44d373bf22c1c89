# A table of provisioned capacity.

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

run "provisioned" {
  command = apply

  module {
    source = "./modules/table"
  }

  variables {
    capacity = { read = { min = 5, max = 500 }, write = { min = 2, max = 20 } }
  }

  assert {
    condition     = aws_dynamodb_table.this.billing_mode == "PROVISIONED" && aws_dynamodb_table.this.read_capacity == 5 && aws_dynamodb_table.this.write_capacity == 2
    error_message = "begins with the least"
  }

  assert {
    condition = {
      for target in aws_appautoscaling_target.this :
      "${target.resource_id} ${target.scalable_dimension}" => "${target.min_capacity} ${target.max_capacity}"
      } == {
      "table/lanner-messages dynamodb:table:ReadCapacityUnits"                 = "5 500"
      "table/lanner-messages dynamodb:table:WriteCapacityUnits"                = "2 20"
      "table/lanner-messages/index/live_ids dynamodb:index:ReadCapacityUnits"  = "5 500"
      "table/lanner-messages/index/live_ids dynamodb:index:WriteCapacityUnits" = "2 20"
    }
    error_message = "the index is scaled like its table"
  }

  assert {
    condition = toset([
      for policy in aws_appautoscaling_policy.this :
      policy.target_tracking_scaling_policy_configuration[0].predefined_metric_specification[0].predefined_metric_type
    ]) == toset(["DynamoDBReadCapacityUtilization", "DynamoDBWriteCapacityUtilization"])
    error_message = "reads by reads, writes by writes"
  }
}
