# Each role may do exactly what its job calls, to exactly what it calls it on.

mock_provider "aws" {
  source = "./tests/mocks"

  override_resource {
    target = module.queue["organizations"].aws_sqs_queue.this
    values = { arn = "organizations" }
  }
  override_resource {
    target = module.queue["organizations"].aws_sqs_queue.dead_letters
    values = { arn = "organizations-dead-letters" }
  }
  override_resource {
    target = module.queue["rooms"].aws_sqs_queue.this
    values = { arn = "rooms" }
  }
  override_resource {
    target = module.queue["rooms"].aws_sqs_queue.dead_letters
    values = { arn = "rooms-dead-letters" }
  }
  override_resource {
    target = module.table["messages"].aws_dynamodb_table.this
    values = { arn = "messages" }
  }
  override_resource {
    target = module.table["view_limits"].aws_dynamodb_table.this
    values = { arn = "view_limits" }
  }
  override_resource {
    target = module.table["state"].aws_dynamodb_table.this
    values = { arn = "state" }
  }
}

variables {
  oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/oidc.example/id/A"
  by_hand           = ["operate", "import"]
}

run "each_role" {
  command = apply

  variables {
    namespace    = "chat"
    message_path = true
  }

  assert {
    condition = toset(keys(module.role)) == toset([
      "extract-organizations", "collect-rooms", "merge-newest", "serve-writes", "build-read-model", "serve-reads", "follow-limits", "rerun",
      "operate", "import",
    ])
    error_message = "a role for each job, and for what people start"
  }

  assert {
    condition = toset(flatten([
      for s in jsondecode(module.role["extract-organizations"].policy).Statement : [for a in s.Action : [for r in s.Resource : "${a} ${r}"]]
      ])) == toset([
      "dynamodb:BatchGetItem view_limits",
      "dynamodb:GetItem state",
      "dynamodb:PutItem state",
      "dynamodb:PutItem view_limits",
      "dynamodb:Query view_limits",
      "kms:Decrypt arn:aws:kms:eu-central-1:111122223333:key/the-key",
      "kms:GenerateDataKey arn:aws:kms:eu-central-1:111122223333:key/the-key",
      "sqs:GetQueueAttributes organizations",
      "sqs:GetQueueAttributes rooms",
      "sqs:GetQueueUrl organizations",
      "sqs:GetQueueUrl rooms",
      "sqs:SendMessage organizations",
    ])
    error_message = module.role["extract-organizations"].policy
  }

  assert {
    condition = toset(flatten([
      for s in jsondecode(module.role["collect-rooms"].policy).Statement : [for a in s.Action : [for r in s.Resource : "${a} ${r}"]]
      ])) == toset([
      "dynamodb:BatchGetItem view_limits",
      "dynamodb:GetItem state",
      "dynamodb:PutItem state",
      "dynamodb:PutItem view_limits",
      "kms:Decrypt arn:aws:kms:eu-central-1:111122223333:key/the-key",
      "kms:GenerateDataKey arn:aws:kms:eu-central-1:111122223333:key/the-key",
      "sqs:ChangeMessageVisibility organizations",
      "sqs:DeleteMessage organizations",
      "sqs:GetQueueAttributes organizations",
      "sqs:GetQueueAttributes rooms",
      "sqs:GetQueueUrl organizations",
      "sqs:GetQueueUrl rooms",
      "sqs:ReceiveMessage organizations",
      "sqs:SendMessage rooms",
    ])
    error_message = module.role["collect-rooms"].policy
  }

  assert {
    condition = toset(flatten([
      for s in jsondecode(module.role["merge-newest"].policy).Statement : [for a in s.Action : [for r in s.Resource : "${a} ${r}"]]
      ])) == toset([
      "dynamodb:BatchGetItem view_limits",
      "dynamodb:GetItem state",
      "dynamodb:PutItem state",
      "dynamodb:PutItem view_limits",
      "dynamodb:Query messages/index/live_ids",
      "kms:Decrypt arn:aws:kms:eu-central-1:111122223333:key/the-key",
      "kms:GenerateDataKey arn:aws:kms:eu-central-1:111122223333:key/the-key",
      "sqs:ChangeMessageVisibility rooms",
      "sqs:DeleteMessage rooms",
      "sqs:GetQueueAttributes organizations",
      "sqs:GetQueueAttributes rooms",
      "sqs:GetQueueUrl organizations",
      "sqs:GetQueueUrl rooms",
      "sqs:ReceiveMessage rooms",
      "sqs:SendMessage organizations",
    ])
    error_message = module.role["merge-newest"].policy
  }

  assert {
    condition = toset(flatten([
      for s in jsondecode(module.role["serve-writes"].policy).Statement : [for a in s.Action : [for r in s.Resource : "${a} ${r}"]]
      ])) == toset([
      "dynamodb:DeleteItem state",
      "dynamodb:GetItem state",
      "dynamodb:PutItem state",
      "kms:Decrypt arn:aws:kms:eu-central-1:111122223333:key/the-key",
    ])
    error_message = module.role["serve-writes"].policy
  }

  assert {
    condition = toset(flatten([
      for s in jsondecode(module.role["build-read-model"].policy).Statement : [for a in s.Action : [for r in s.Resource : "${a} ${r}"]]
      ])) == toset([
      "dynamodb:BatchGetItem messages",
      "dynamodb:GetItem state",
      "dynamodb:PutItem messages",
      "dynamodb:PutItem state",
      "kms:Decrypt arn:aws:kms:eu-central-1:111122223333:key/the-key",
    ])
    error_message = module.role["build-read-model"].policy
  }

  assert {
    condition = toset(flatten([
      for s in jsondecode(module.role["serve-reads"].policy).Statement : [for a in s.Action : [for r in s.Resource : "${a} ${r}"]]
      ])) == toset([
      "dynamodb:BatchGetItem messages",
      "dynamodb:BatchGetItem view_limits",
      "dynamodb:GetItem state",
      "dynamodb:PutItem state",
      "dynamodb:Query messages",
      "kms:Decrypt arn:aws:kms:eu-central-1:111122223333:key/the-key",
    ])
    error_message = module.role["serve-reads"].policy
  }

  assert {
    condition = toset(flatten([
      for s in jsondecode(module.role["follow-limits"].policy).Statement : [for a in s.Action : [for r in s.Resource : "${a} ${r}"]]
      ])) == toset([
      "dynamodb:BatchGetItem view_limits",
      "dynamodb:DeleteItem state",
      "dynamodb:GetItem state",
      "dynamodb:PutItem state",
      "dynamodb:PutItem view_limits",
      "dynamodb:Query messages/index/live_ids",
      "dynamodb:Query state",
      "dynamodb:Query view_limits",
      "kms:Decrypt arn:aws:kms:eu-central-1:111122223333:key/the-key",
    ])
    error_message = module.role["follow-limits"].policy
  }

  # What messages say is read by no role of the limit path; an import sees which are there and which are deleted.
  assert {
    condition = alltrue(flatten([
      for name, role in module.role : [
        for s in jsondecode(role.policy).Statement : [
          for a in s.Action :
          contains(["dynamodb:DescribeTable", "dynamodb:BatchWriteItem", "dynamodb:UpdateItem"], a)
          || (name == "import" && a == "dynamodb:Query" && toset(try(s.Condition["ForAllValues:StringEquals"]["dynamodb:Attributes"], [])) == toset(["r", "m", "d"]))
        ]
        if contains(s.Resource, "messages")
      ] if !contains(["build-read-model", "serve-reads"], name)
    ]))
    error_message = "a role reads the table of messages"
  }

  # The path of some organizations: limits are not listed, for nothing is released that was not asked for.
  assert {
    condition = toset(flatten([
      for s in jsondecode(module.role["rerun"].policy).Statement : [for a in s.Action : [for r in s.Resource : "${a} ${r}"]]
      ])) == toset([
      "dynamodb:BatchGetItem view_limits",
      "dynamodb:GetItem state",
      "dynamodb:PutItem state",
      "dynamodb:PutItem view_limits",
      "dynamodb:Query messages/index/live_ids",
      "kms:Decrypt arn:aws:kms:eu-central-1:111122223333:key/the-key",
      "kms:GenerateDataKey arn:aws:kms:eu-central-1:111122223333:key/the-key",
      "sqs:ChangeMessageVisibility organizations",
      "sqs:ChangeMessageVisibility rooms",
      "sqs:DeleteMessage organizations",
      "sqs:DeleteMessage rooms",
      "sqs:GetQueueAttributes organizations",
      "sqs:GetQueueAttributes rooms",
      "sqs:GetQueueUrl organizations",
      "sqs:GetQueueUrl rooms",
      "sqs:ReceiveMessage organizations",
      "sqs:ReceiveMessage rooms",
      "sqs:SendMessage organizations",
      "sqs:SendMessage rooms",
    ])
    error_message = module.role["rerun"].policy
  }

  # All that the jobs do, and a look at everything.
  assert {
    condition = toset(flatten([
      for s in jsondecode(module.role["operate"].policy).Statement : [for a in s.Action : [for r in s.Resource : "${a} ${r}"]]
      ])) == toset([
      "dynamodb:BatchGetItem view_limits",
      "dynamodb:DescribeTable messages",
      "dynamodb:DescribeTable state",
      "dynamodb:DescribeTable view_limits",
      "dynamodb:GetItem state",
      "dynamodb:PutItem state",
      "dynamodb:PutItem view_limits",
      "dynamodb:Query messages/index/live_ids",
      "dynamodb:Query view_limits",
      "kms:Decrypt arn:aws:kms:eu-central-1:111122223333:key/the-key",
      "kms:GenerateDataKey arn:aws:kms:eu-central-1:111122223333:key/the-key",
      "sqs:ChangeMessageVisibility organizations",
      "sqs:ChangeMessageVisibility rooms",
      "sqs:DeleteMessage organizations",
      "sqs:DeleteMessage rooms",
      "sqs:GetQueueAttributes organizations",
      "sqs:GetQueueAttributes rooms",
      "sqs:GetQueueUrl organizations",
      "sqs:GetQueueUrl organizations-dead-letters",
      "sqs:GetQueueUrl rooms",
      "sqs:GetQueueUrl rooms-dead-letters",
      "sqs:ReceiveMessage organizations",
      "sqs:ReceiveMessage rooms",
      "sqs:SendMessage organizations",
      "sqs:SendMessage rooms",
    ])
    error_message = module.role["operate"].policy
  }

  assert {
    condition = toset(flatten([
      for s in jsondecode(module.role["import"].policy).Statement : [for a in s.Action : [for r in s.Resource : "${a} ${r}"]]
      ])) == toset([
      "dynamodb:BatchWriteItem messages",
      "dynamodb:DeleteItem state",
      "dynamodb:DescribeTable messages",
      "dynamodb:GetItem state",
      "dynamodb:PutItem state",
      "dynamodb:Query messages",
      "dynamodb:UpdateItem messages",
      "kms:Decrypt arn:aws:kms:eu-central-1:111122223333:key/the-key",
      "sqs:GetQueueUrl organizations",
      "sqs:GetQueueUrl rooms",
    ])
    error_message = module.role["import"].policy
  }

  # Of the table of state only the store's own records, and of the message path those of the job.
  assert {
    condition = alltrue([
      for name, role in module.role : toset(flatten([
        for s in jsondecode(role.policy).Statement : try(s.Condition["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"], ["everything"])
        if contains(s.Resource, "state") && s.Action != ["dynamodb:DescribeTable"]
        ])) == toset(concat(["store"], lookup({
          serve-writes     = ["id-writer", "idempotency"]
          build-read-model = ["group"]
          follow-limits    = ["follow-limits", "follow-limits-place", "follow-limits-set", "follow-limits-status"]
      }, name, [])))
    ])
    error_message = "a role touches more of the table of state than its own records"
  }

  # The key is used by asking DynamoDB and SQS, never by itself.
  assert {
    condition = alltrue(flatten([
      for role in module.role : [
        for s in jsondecode(role.policy).Statement :
        length(setsubtract(s.Condition.StringEquals["kms:ViaService"], ["dynamodb.eu-central-1.amazonaws.com", "sqs.eu-central-1.amazonaws.com"])) == 0
        if startswith(s.Action[0], "kms:")
      ]
    ]))
    error_message = "a role uses the key by itself"
  }

  # One cluster, one namespace, one service account.
  assert {
    condition = alltrue([
      for name, role in module.role : jsondecode(role.trust).Statement[0].Condition == {
        StringEquals = {
          "oidc.example/id/A:aud" = "sts.amazonaws.com"
          "oidc.example/id/A:sub" = "system:serviceaccount:chat:lanner-${name}"
        }
      }
    ])
    error_message = "a role trusts more than one service account"
  }
}

run "what_people_start_is_chosen" {
  command = plan

  variables {
    by_hand          = []
    service_accounts = { merge-newest = "merger" }
  }

  assert {
    condition     = toset(keys(output.role_arns)) == toset(["extract-organizations", "collect-rooms", "merge-newest", "rerun"])
    error_message = "only the jobs of the limit path"
  }

  assert {
    condition     = strcontains(module.role["merge-newest"].trust, "system:serviceaccount:lanner:merger\"")
    error_message = module.role["merge-newest"].trust
  }
}
