# Each input that makes no sense is refused, by its own variable.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/oidc.example/id/A"
}

# SQS counts both from when a message was first sent.
run "dead_letters_kept_as_long" {
  command = plan

  variables {
    dead_letter_retention_days = 4
  }

  expect_failures = [var.dead_letter_retention_days]
}

run "dead_letters_kept_shorter" {
  command = plan

  variables {
    dead_letter_retention_days = 3
  }

  expect_failures = [var.dead_letter_retention_days]
}

run "no_room_for_dead_letters" {
  command = plan

  variables {
    queue_retention_days       = 14
    dead_letter_retention_days = 14
  }

  expect_failures = [var.dead_letter_retention_days]
}

run "each" {
  command = plan

  variables {
    name                     = "Lanner_1"
    tags                     = { "aws:mine" = "1" }
    queue_prefix             = "lanner."
    queue_retention_days     = 0
    receives_max             = 9
    alarm_oldest_minutes     = 1440
    alarm_depth              = 0
    alarm_actions            = ["on-call"]
    table_prefix             = "lanner/"
    capacity                 = { limits = { read = { min = 1, max = 2 }, write = { min = 1, max = 2 } } }
    recovery_days            = 36
    deletion_protection      = null
    key_administrators       = ["arn:aws:iam::111122223333:role/*"]
    key_users                = ["arn:aws:iam::111122223333:root"]
    key_deletion_days        = 6
    bucket_name              = "Exports"
    noncurrent_days          = 0
    log_bucket               = "-"
    oidc_provider_arn        = "https://oidc.example/id/A"
    namespace                = "*"
    service_accounts         = { merge = "merger" }
    message_path             = null
    by_hand                  = ["provision"]
    permissions_boundary_arn = "boundary"
  }

  expect_failures = [
    var.name,
    var.tags,
    var.queue_prefix,
    var.queue_retention_days,
    var.receives_max,
    var.alarm_oldest_minutes,
    var.alarm_depth,
    var.alarm_actions,
    var.table_prefix,
    var.capacity,
    var.recovery_days,
    var.deletion_protection,
    var.key_administrators,
    var.key_users,
    var.key_deletion_days,
    var.bucket_name,
    var.noncurrent_days,
    var.log_bucket,
    var.oidc_provider_arn,
    var.namespace,
    var.service_accounts,
    var.message_path,
    var.by_hand,
    var.permissions_boundary_arn,
  ]
}

run "each_otherwise" {
  command = plan

  variables {
    dead_letter_retention_days = 15
    queue_prefix               = "ppppppppppppppppppppppppppppppppppppppppppppppppppppppp"
    capacity                   = { state = { read = { min = 1, max = 2 }, write = { min = 3, max = 2 } } }
    service_accounts           = { merge-newest = "lanner-*" }
  }

  expect_failures = [
    var.dead_letter_retention_days,
    var.queue_prefix,
    var.capacity,
    var.service_accounts,
  ]
}

run "one_service_account_for_two_jobs" {
  command = plan

  variables {
    service_accounts = { merge-newest = "worker", collect-rooms = "worker" }
  }

  expect_failures = [var.service_accounts]
}
