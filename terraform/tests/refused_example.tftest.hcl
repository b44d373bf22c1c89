# What the example refuses.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/oidc.example/id/A"
  alarm_actions     = ["arn:aws:sns:eu-central-1:111122223333:on-call"]
  log_bucket        = "access-logs"
}

run "each" {
  command = plan

  module {
    source = "./examples/complete"
  }

  variables {
    environment       = "tests"
    region            = "Frankfurt"
    oidc_provider_arn = "oidc.example"
    alarm_actions     = []
    log_bucket        = "-"
  }

  expect_failures = [
    var.environment,
    var.region,
    var.oidc_provider_arn,
    var.alarm_actions,
    var.log_bucket,
  ]
}
