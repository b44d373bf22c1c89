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

run "name" {
  command = plan

  module {
    source = "./modules/queue"
  }

  variables {
    name = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
  }

  expect_failures = [var.name]
}

run "key" {
  command = plan

  module {
    source = "./modules/queue"
  }

  variables {
    kms_key_arn = "alias/lanner"
  }

  expect_failures = [var.kms_key_arn]
}

run "retention" {
  command = plan

  module {
    source = "./modules/queue"
  }

  variables {
    alarm_oldest_seconds = 30
    retention_seconds    = 59
  }

  expect_failures = [var.retention_seconds]
}

run "dead_letter_retention_too_long" {
  command = plan

  module {
    source = "./modules/queue"
  }

  variables {
    dead_letter_retention_seconds = 1209601
  }

  expect_failures = [var.dead_letter_retention_seconds]
}

run "dead_letter_retention_as_long" {
  command = plan

  module {
    source = "./modules/queue"
  }

  variables {
    dead_letter_retention_seconds = 345600
  }

  expect_failures = [var.dead_letter_retention_seconds]
}

run "receives" {
  command = plan

  module {
    source = "./modules/queue"
  }

  variables {
    receives_max = 1001
  }

  expect_failures = [var.receives_max]
}

run "alarm_oldest" {
  command = plan

  module {
    source = "./modules/queue"
  }

  variables {
    alarm_oldest_seconds = 345600
  }

  expect_failures = [var.alarm_oldest_seconds]
}

run "alarm_depth" {
  command = plan

  module {
    source = "./modules/queue"
  }

  variables {
    alarm_depth = 0
  }

  expect_failures = [var.alarm_depth]
}

run "alarm_actions" {
  command = plan

  module {
    source = "./modules/queue"
  }

  variables {
    alarm_actions = ["pager"]
  }

  expect_failures = [var.alarm_actions]
}

run "tags" {
  command = plan

  module {
    source = "./modules/queue"
  }

  variables {
    tags = { "aws:mine" = "1" }
  }

  expect_failures = [var.tags]
}
