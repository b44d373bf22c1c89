# What the module key refuses.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  alias      = "lanner"
  partition  = "aws"
  account_id = "111122223333"
  services   = { dynamodb = "dynamodb.eu-central-1.amazonaws.com", s3 = "s3.eu-central-1.amazonaws.com", sqs = "sqs.eu-central-1.amazonaws.com" }
  users      = ["arn:aws:iam::111122223333:role/merge"]
}

run "each" {
  command = plan

  module {
    source = "./modules/key"
  }

  variables {
    alias          = "aws/lanner"
    partition      = "azure"
    account_id     = "1111"
    services       = { sqs = "sqs.eu-central-1.amazonaws.com" }
    administrators = ["*"]
    users          = ["arn:aws:iam::111122223333:role/*"]
    deletion_days  = 31
    tags           = { "aws:mine" = "1" }
  }

  expect_failures = [
    var.alias,
    var.partition,
    var.account_id,
    var.services,
    var.administrators,
    var.users,
    var.deletion_days,
    var.tags,
  ]
}
