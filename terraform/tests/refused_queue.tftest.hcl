# What the module queue refuses.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                          = "q"
  kms_key_arn                   = "arn:aws:kms:eu-central-1:111122223333:key/k"
  retention_seconds             = 345600
  dead_letter_retention_seconds = 1209600
  receives_max                  = 100
  alarm_oldest_seconds          = 3600
  alarm_depth                   = 7
}

# SQS counts both from when a message was first sent.
run "dead_letters_kept_as_long" {
  command = plan

  module {
    source = "./modules/queue"
  }

  variables {
    dead_letter_retention_seconds = 345600
  }

  expect_failures = [var.dead_letter_retention_seconds]
}

run "each" {
  command = plan

  module {
    source = "./modules/queue"
  }

  variables {
    name              = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
    kms_key_arn       = "alias/lanner"
    retention_seconds = 59
    receives_max      = 1001
    alarm_depth       = 0
    alarm_actions     = ["on-call"]
    tags              = { "aws:mine" = "1" }
  }

  expect_failures = [
    var.name,
    var.kms_key_arn,
    var.retention_seconds,
    var.receives_max,
    var.alarm_depth,
    var.alarm_actions,
    var.tags,
  ]
}

run "each_beside_a_good_retention" {
  command = plan

  module {
    source = "./modules/queue"
  }

  variables {
    dead_letter_retention_seconds = 1209601
    alarm_oldest_seconds          = 345600
  }

  expect_failures = [
    var.dead_letter_retention_seconds,
    var.alarm_oldest_seconds,
  ]
}
