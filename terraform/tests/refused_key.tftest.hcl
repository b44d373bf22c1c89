# What the module key refuses.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  alias      = "lanner"
  partition  = "aws"
  account_id = "111122223333"
  region     = "eu-central-1"
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
    region         = "Frankfurt"
    administrators = ["*"]
    users          = ["arn:aws:iam::111122223333:role/*"]
    deletion_days  = 31
    tags           = { "aws:mine" = "1" }
  }

  expect_failures = [
    var.alias,
    var.partition,
    var.account_id,
    var.region,
    var.administrators,
    var.users,
    var.deletion_days,
    var.tags,
  ]
}
