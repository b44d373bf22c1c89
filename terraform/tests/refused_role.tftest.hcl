# What the module role refuses.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name              = "lanner-job"
  description       = "A job"
  oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/oidc.example/id/A"
  namespace         = "lanner"
  service_account   = "lanner-job"
  statements        = [{ Effect = "Allow", Action = ["sqs:SendMessage"], Resource = ["arn:aws:sqs:eu-central-1:111122223333:q"] }]
}

run "name" {
  command = plan

  module {
    source = "./modules/role"
  }

  variables {
    name = "a job"
  }

  expect_failures = [var.name]
}

run "description" {
  command = plan

  module {
    source = "./modules/role"
  }

  variables {
    description = ""
  }

  expect_failures = [var.description]
}

run "oidc_provider" {
  command = plan

  module {
    source = "./modules/role"
  }

  variables {
    oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/*"
  }

  expect_failures = [var.oidc_provider_arn]
}

run "namespace" {
  command = plan

  module {
    source = "./modules/role"
  }

  variables {
    namespace = "lanner-*"
  }

  expect_failures = [var.namespace]
}

run "service_account" {
  command = plan

  module {
    source = "./modules/role"
  }

  variables {
    service_account = "*"
  }

  expect_failures = [var.service_account]
}

run "action_with_a_wildcard" {
  command = plan

  module {
    source = "./modules/role"
  }

  variables {
    statements = [{ Effect = "Allow", Action = ["sqs:Send*"], Resource = ["arn:aws:sqs:eu-central-1:111122223333:q"] }]
  }

  expect_failures = [var.statements]
}

run "resource_with_a_wildcard" {
  command = plan

  module {
    source = "./modules/role"
  }

  variables {
    statements = [{ Effect = "Allow", Action = ["sqs:SendMessage"], Resource = ["*"] }]
  }

  expect_failures = [var.statements]
}

run "permissions_boundary" {
  command = plan

  module {
    source = "./modules/role"
  }

  variables {
    permissions_boundary_arn = "boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "tags" {
  command = plan

  module {
    source = "./modules/role"
  }

  variables {
    tags = { "aws:mine" = "1" }
  }

  expect_failures = [var.tags]
}
