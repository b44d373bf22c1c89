# With its defaults the module makes what the program looks for.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/oidc.example/id/A"
}

run "names" {
  command = apply

  assert {
    condition     = toset([for queue in output.helm_values.queues : queue.name]) == toset(["lanner-organizations", "lanner-rooms"])
    error_message = jsonencode(output.helm_values.queues)
  }

  assert {
    condition = output.helm_values.tables == {
      messages    = "lanner-messages"
      state       = "lanner-state"
      view_limits = "lanner-view_limits"
    }
    error_message = jsonencode(output.helm_values.tables)
  }

  assert {
    condition     = output.helm_values.aws.region == "eu-central-1" && output.helm_values.sqs.queuePrefix == "lanner-" && output.helm_values.dynamodb.tablePrefix == "lanner-"
    error_message = jsonencode(output.helm_values)
  }

  assert {
    condition     = output.helm_values.serviceAccounts["merge-newest"].annotations["eks.amazonaws.com/role-arn"] == output.role_arns["merge-newest"]
    error_message = jsonencode(output.helm_values)
  }

  assert {
    condition     = output.bucket != null && output.kms_key_arn == "arn:aws:kms:eu-central-1:111122223333:key/the-key"
    error_message = "the key's ARN and the bucket's name are told"
  }

  assert {
    condition     = toset(keys(output.queue_arns)) == toset(["organizations", "rooms"])
    error_message = jsonencode(output.queue_arns)
  }
}
