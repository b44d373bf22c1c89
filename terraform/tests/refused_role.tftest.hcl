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

run "each" {
  command = plan

  module {
    source = "./modules/role"
  }

  variables {
    name                     = "a job"
    description              = ""
    oidc_provider_arn        = "arn:aws:iam::111122223333:oidc-provider/*"
    namespace                = "lanner-*"
    service_account          = "*"
    permissions_boundary_arn = "boundary"
    tags                     = { "aws:mine" = "1" }
  }

  expect_failures = [
    var.name,
    var.description,
    var.oidc_provider_arn,
    var.namespace,
    var.service_account,
    var.permissions_boundary_arn,
    var.tags,
  ]
}
