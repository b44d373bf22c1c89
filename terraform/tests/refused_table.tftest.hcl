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

run "each" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    name                = "t"
    hash_key            = { family = "S", shard = "N" }
    range_key           = { name = "string" }
    index               = { name = "live_ids", hash_key = { l = "N" }, range_key = {} }
    expires_by          = ""
    capacity            = { read = { min = 0, max = 2 }, write = { min = 1, max = 2 } }
    recovery_days       = 0
    deletion_protection = null
    kms_key_arn         = "alias/lanner"
    tags                = { "aws:mine" = "1" }
  }

  expect_failures = [
    var.name,
    var.hash_key,
    var.range_key,
    var.index,
    var.expires_by,
    var.capacity,
    var.recovery_days,
    var.deletion_protection,
    var.kms_key_arn,
    var.tags,
  ]
}
