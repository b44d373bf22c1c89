# The example is whole.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/oidc.example/id/A"
  alarm_actions     = ["arn:aws:sns:eu-central-1:111122223333:on-call"]
  log_bucket        = "access-logs"
}

run "complete" {
  command = plan

  module {
    source = "./examples/complete"
  }

  assert {
    condition     = output.helm_values.settings.sqs.queue_prefix == "lanner-"
    error_message = jsonencode(output.helm_values.settings)
  }
}

run "staging" {
  command = plan

  module {
    source = "./examples/complete"
  }

  variables {
    environment = "staging"
  }

  assert {
    condition     = output.helm_values.settings.dynamodb.table_prefix == "lanner-staging-"
    error_message = jsonencode(output.helm_values.settings)
  }
}
