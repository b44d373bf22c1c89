# With its defaults the module makes what the program looks for.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/oidc.example/id/A"
}

run "defaults" {
  command = plan

  assert {
    condition     = { for name, queue in module.queue : name => queue.name } == { organizations = "lanner-organizations", rooms = "lanner-rooms" }
    error_message = "names of queues"
  }

  assert {
    condition = output.table_names == {
      messages    = "lanner-messages"
      state       = "lanner-state"
      view_limits = "lanner-view_limits"
    }
    error_message = jsonencode(output.table_names)
  }

  assert {
    condition     = toset(keys(output.queue_urls)) == toset(["organizations", "organizations-dead-letters", "rooms", "rooms-dead-letters"])
    error_message = "each queue and its dead letters"
  }

  assert {
    condition     = toset(keys(output.queue_arns)) == toset(["organizations", "rooms"])
    error_message = "each queue"
  }

  # The release of the chart is called like the module.
  assert {
    condition     = alltrue([for job, account in output.service_accounts : account == "lanner-${job}"])
    error_message = jsonencode(output.service_accounts)
  }
}

# Exactly the keys that the chart's values have: it refuses others.
run "helm_values" {
  command = apply

  variables {
    queue_prefix = "chat-"
    table_prefix = "chat."
  }

  assert {
    condition = output.helm_values == {
      settings = {
        aws      = { region = "eu-central-1" }
        dynamodb = { table_prefix = "chat." }
        sqs      = { queue_prefix = "chat-" }
      }
      extractOrganizations = { roleArn = output.role_arns["extract-organizations"] }
      collectRooms         = { roleArn = output.role_arns["collect-rooms"] }
      mergeNewest          = { roleArn = output.role_arns["merge-newest"] }
      serveWrites          = { roleArn = "" }
      buildReadModel       = { roleArn = "" }
      serveReads           = { roleArn = "" }
      followLimits         = { roleArn = "" }
      rerun                = { roleArn = output.role_arns["rerun"] }
      autoscaling          = { accountId = "111122223333" }
    }
    error_message = jsonencode(output.helm_values)
  }

  assert {
    condition     = output.bucket != null && output.region == "eu-central-1" && output.kms_key_arn == "arn:aws:kms:eu-central-1:111122223333:key/the-key"
    error_message = "the region, the key's ARN and the bucket's name are told"
  }

  assert {
    condition     = toset([for queue in module.queue : queue.name]) == toset(["chat-organizations", "chat-rooms"])
    error_message = "the prefix stands in front of every queue"
  }

  assert {
    condition     = output.table_names["messages"] == "chat.messages"
    error_message = "and of every table"
  }
}
