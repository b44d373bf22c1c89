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

run "alias" {
  command = plan

  module {
    source = "./modules/key"
  }

  variables {
    alias = "aws/lanner"
  }

  expect_failures = [var.alias]
}

run "partition" {
  command = plan

  module {
    source = "./modules/key"
  }

  variables {
    partition = "azure"
  }

  expect_failures = [var.partition]
}

run "account" {
  command = plan

  module {
    source = "./modules/key"
  }

  variables {
    account_id = "1111"
  }

  expect_failures = [var.account_id]
}

run "region" {
  command = plan

  module {
    source = "./modules/key"
  }

  variables {
    region = "Frankfurt"
  }

  expect_failures = [var.region]
}

run "administrators" {
  command = plan

  module {
    source = "./modules/key"
  }

  variables {
    administrators = ["*"]
  }

  expect_failures = [var.administrators]
}

run "users" {
  command = plan

  module {
    source = "./modules/key"
  }

  variables {
    users = ["arn:aws:iam::111122223333:role/*"]
  }

  expect_failures = [var.users]
}

run "deletion" {
  command = plan

  module {
    source = "./modules/key"
  }

  variables {
    deletion_days = 31
  }

  expect_failures = [var.deletion_days]
}

run "tags" {
  command = plan

  module {
    source = "./modules/key"
  }

  variables {
    tags = { "aws:mine" = "1" }
  }

  expect_failures = [var.tags]
}
