# Each input that makes no sense is refused, by its own variable.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/oidc.example/id/A"
}

run "name" {
  command = plan

  variables {
    name = "Lanner_1"
  }

  expect_failures = [var.name]
}

run "tags" {
  command = plan

  variables {
    tags = { "aws:mine" = "1" }
  }

  expect_failures = [var.tags]
}

run "queue_prefix" {
  command = plan

  variables {
    queue_prefix = "lanner."
  }

  expect_failures = [var.queue_prefix]
}

run "queue_prefix_too_long" {
  command = plan

  variables {
    queue_prefix = "ppppppppppppppppppppppppppppppppppppppppppppppppppppppp"
  }

  expect_failures = [var.queue_prefix]
}

run "queue_retention" {
  command = plan

  variables {
    queue_retention_days = 0
  }

  expect_failures = [var.queue_retention_days]
}

run "dead_letter_retention_too_long" {
  command = plan

  variables {
    dead_letter_retention_days = 15
  }

  expect_failures = [var.dead_letter_retention_days]
}

run "dead_letter_retention_as_long" {
  command = plan

  variables {
    dead_letter_retention_days = 4
  }

  expect_failures = [var.dead_letter_retention_days]
}

run "dead_letter_retention_shorter" {
  command = plan

  variables {
    dead_letter_retention_days = 3
  }

  expect_failures = [var.dead_letter_retention_days]
}

run "dead_letters_of_the_longest_retention" {
  command = plan

  variables {
    queue_retention_days       = 14
    dead_letter_retention_days = 14
  }

  expect_failures = [var.dead_letter_retention_days]
}

run "receives" {
  command = plan

  variables {
    receives_max = 9
  }

  expect_failures = [var.receives_max]
}

run "alarm_oldest" {
  command = plan

  variables {
    alarm_oldest_minutes = 1440
  }

  expect_failures = [var.alarm_oldest_minutes]
}

run "alarm_depth" {
  command = plan

  variables {
    alarm_depth = 0
  }

  expect_failures = [var.alarm_depth]
}

run "alarm_actions" {
  command = plan

  variables {
    alarm_actions = ["pager"]
  }

  expect_failures = [var.alarm_actions]
}

run "table_prefix" {
  command = plan

  variables {
    table_prefix = "lanner/"
  }

  expect_failures = [var.table_prefix]
}

run "capacity_of_an_unknown_table" {
  command = plan

  variables {
    capacity = { limits = { read = { min = 1, max = 2 }, write = { min = 1, max = 2 } } }
  }

  expect_failures = [var.capacity]
}

run "capacity_upside_down" {
  command = plan

  variables {
    capacity = { state = { read = { min = 1, max = 2 }, write = { min = 3, max = 2 } } }
  }

  expect_failures = [var.capacity]
}

run "recovery" {
  command = plan

  variables {
    recovery_days = 36
  }

  expect_failures = [var.recovery_days]
}

run "deletion_protection" {
  command = plan

  variables {
    deletion_protection = null
  }

  expect_failures = [var.deletion_protection]
}

run "key_administrators" {
  command = plan

  variables {
    key_administrators = ["arn:aws:iam::111122223333:role/*"]
  }

  expect_failures = [var.key_administrators]
}

run "key_users" {
  command = plan

  variables {
    key_users = ["arn:aws:iam::111122223333:root"]
  }

  expect_failures = [var.key_users]
}

run "key_deletion" {
  command = plan

  variables {
    key_deletion_days = 6
  }

  expect_failures = [var.key_deletion_days]
}

run "bucket_name" {
  command = plan

  variables {
    bucket_name = "Exports"
  }

  expect_failures = [var.bucket_name]
}

run "noncurrent" {
  command = plan

  variables {
    noncurrent_days = 0
  }

  expect_failures = [var.noncurrent_days]
}

run "oidc_provider" {
  command = plan

  variables {
    oidc_provider_arn = "https://oidc.example/id/A"
  }

  expect_failures = [var.oidc_provider_arn]
}

run "namespace" {
  command = plan

  variables {
    namespace = "*"
  }

  expect_failures = [var.namespace]
}

run "service_account_of_an_unknown_job" {
  command = plan

  variables {
    service_accounts = { merge = "merger" }
  }

  expect_failures = [var.service_accounts]
}

run "service_account_with_a_wildcard" {
  command = plan

  variables {
    service_accounts = { merge-newest = "lanner-*" }
  }

  expect_failures = [var.service_accounts]
}

run "service_account_of_two_jobs" {
  command = plan

  variables {
    service_accounts = { merge-newest = "worker", collect-rooms = "worker" }
  }

  expect_failures = [var.service_accounts]
}

run "by_hand" {
  command = plan

  variables {
    by_hand = ["provision"]
  }

  expect_failures = [var.by_hand]
}

run "permissions_boundary" {
  command = plan

  variables {
    permissions_boundary_arn = "boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}
