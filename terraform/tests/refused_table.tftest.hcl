# What the module table refuses.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name        = "lanner-state"
  hash_key    = { family = "S" }
  range_key   = { name = "S" }
  kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/k"
}

run "name" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    name = "t"
  }

  expect_failures = [var.name]
}

run "hash_key" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    hash_key = { family = "S", shard = "N" }
  }

  expect_failures = [var.hash_key]
}

run "range_key" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    range_key = { name = "string" }
  }

  expect_failures = [var.range_key]
}

run "index" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    index = { name = "live_ids", hash_key = { l = "N" }, range_key = {} }
  }

  expect_failures = [var.index]
}

run "expires_by" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    expires_by = ""
  }

  expect_failures = [var.expires_by]
}

run "capacity" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    capacity = { read = { min = 0, max = 2 }, write = { min = 1, max = 2 } }
  }

  expect_failures = [var.capacity]
}

run "recovery" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    recovery_days = 0
  }

  expect_failures = [var.recovery_days]
}

run "deletion_protection" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    deletion_protection = null
  }

  expect_failures = [var.deletion_protection]
}

run "key" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    kms_key_arn = "alias/lanner"
  }

  expect_failures = [var.kms_key_arn]
}

run "tags" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    tags = { "aws:mine" = "1" }
  }

  expect_failures = [var.tags]
}
