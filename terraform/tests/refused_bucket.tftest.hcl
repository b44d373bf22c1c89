# What the module bucket refuses.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name        = "lanner-exports"
  kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/k"
}

run "name" {
  command = plan

  module {
    source = "./modules/bucket"
  }

  variables {
    name = "Exports"
  }

  expect_failures = [var.name]
}

run "key" {
  command = plan

  module {
    source = "./modules/bucket"
  }

  variables {
    kms_key_arn = "alias/lanner"
  }

  expect_failures = [var.kms_key_arn]
}

run "noncurrent" {
  command = plan

  module {
    source = "./modules/bucket"
  }

  variables {
    noncurrent_days = 0
  }

  expect_failures = [var.noncurrent_days]
}

run "tags" {
  command = plan

  module {
    source = "./modules/bucket"
  }

  variables {
    tags = { "aws:mine" = "1" }
  }

  expect_failures = [var.tags]
}
