# What the module bucket refuses.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name        = "lanner-exports"
  kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/k"
}

run "each" {
  command = plan

  module {
    source = "./modules/bucket"
  }

  variables {
    name            = "Exports"
    kms_key_arn     = "alias/lanner"
    noncurrent_days = 0
    log_bucket      = "-"
    tags            = { "aws:mine" = "1" }
  }

  expect_failures = [
    var.name,
    var.kms_key_arn,
    var.noncurrent_days,
    var.log_bucket,
    var.tags,
  ]
}
