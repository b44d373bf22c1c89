# Who may call what: a statement for each thing that is done, and for each role the things that it does.

locals {
  # As KMS calls who asks for a key: sqs.eu-central-1.amazonaws.com.
  services = {
    for service in ["dynamodb", "s3", "sqs"] : service => "${service}.${data.aws_region.this.region}.${data.aws_partition.this.dns_suffix}"
  }

  # The records of the store itself: the epoch of the message ids, how far an import came.
  records_of_the_store = { "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = ["store"] } }

  statements = {
    # Whoever starts first fixes the epoch, and everybody confirms it.
    epoch = {
      Sid       = "Epoch"
      Effect    = "Allow"
      Action    = ["dynamodb:GetItem", "dynamodb:PutItem"]
      Resource  = [module.table["state"].arn]
      Condition = local.records_of_the_store
    }

    import_record = {
      Sid       = "ImportRecord"
      Effect    = "Allow"
      Action    = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem"]
      Resource  = [module.table["state"].arn]
      Condition = local.records_of_the_store
    }

    find_queues = {
      Sid      = "FindQueues"
      Effect   = "Allow"
      Action   = ["sqs:GetQueueUrl"]
      Resource = [module.queue["organizations"].arn, module.queue["rooms"].arn]
    }

    # For /metrics, and to notice that a queue has lost messages.
    queue_depth = {
      Sid      = "QueueDepth"
      Effect   = "Allow"
      Action   = ["sqs:GetQueueAttributes"]
      Resource = [module.queue["organizations"].arn, module.queue["rooms"].arn]
    }

    send_organizations = {
      Sid      = "SendOrganizations"
      Effect   = "Allow"
      Action   = ["sqs:SendMessage"]
      Resource = [module.queue["organizations"].arn]
    }

    send_rooms = {
      Sid      = "SendRooms"
      Effect   = "Allow"
      Action   = ["sqs:SendMessage"]
      Resource = [module.queue["rooms"].arn]
    }

    work_on_organizations = {
      Sid      = "WorkOnOrganizations"
      Effect   = "Allow"
      Action   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage"]
      Resource = [module.queue["organizations"].arn]
    }

    work_on_rooms = {
      Sid      = "WorkOnRooms"
      Effect   = "Allow"
      Action   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage"]
      Resource = [module.queue["rooms"].arn]
    }

    # A limit is read before it is written over, and a release is a write.
    store_limits = {
      Sid      = "StoreLimits"
      Effect   = "Allow"
      Action   = ["dynamodb:BatchGetItem", "dynamodb:PutItem"]
      Resource = [module.table["view_limits"].arn]
    }

    list_limits = {
      Sid      = "ListLimits"
      Effect   = "Allow"
      Action   = ["dynamodb:Query"]
      Resource = [module.table["view_limits"].arn]
    }

    # Ids alone: what messages say is in the table, which the limit path does not read.
    read_live_ids = {
      Sid      = "ReadLiveIds"
      Effect   = "Allow"
      Action   = ["dynamodb:Query"]
      Resource = [module.table["messages"].index_arn]
    }

    load_messages = {
      Sid      = "LoadMessages"
      Effect   = "Allow"
      Action   = ["dynamodb:BatchWriteItem", "dynamodb:DescribeTable", "dynamodb:UpdateItem"]
      Resource = [module.table["messages"].arn]
    }

    # A message that is deleted stays so: which are there, and which are deleted, but not what they say.
    look_for_deleted = {
      Sid      = "LookForDeleted"
      Effect   = "Allow"
      Action   = ["dynamodb:Query"]
      Resource = [module.table["messages"].arn]
      Condition = {
        "ForAllValues:StringEquals" = { "dynamodb:Attributes" = ["r", "m", "d"] }
        StringEqualsIfExists        = { "dynamodb:Select" = "SPECIFIC_ATTRIBUTES" }
      }
    }

    # Who deals ids holds one of their numbers meanwhile.
    lease_ids = {
      Sid       = "LeaseIds"
      Effect    = "Allow"
      Action    = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem"]
      Resource  = [module.table["state"].arn]
      Condition = { "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = ["id-writer"] } }
    }

    # What was answered under an Idempotency-Key; one that led to nothing is taken back.
    remember_keys = {
      Sid       = "RememberKeys"
      Effect    = "Allow"
      Action    = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem"]
      Resource  = [module.table["state"].arn]
      Condition = { "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = ["idempotency"] } }
    }

    # Whether a consumer group has ever been at its log.
    mark_group = {
      Sid       = "MarkGroup"
      Effect    = "Allow"
      Action    = ["dynamodb:GetItem", "dynamodb:PutItem"]
      Resource  = [module.table["state"].arn]
      Condition = { "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = ["group"] } }
    }

    # A lease on each shard, its place in the log, how it is doing, and a set for each organization; sets are listed when a shard starts.
    follow_limits = {
      Sid      = "FollowLimits"
      Effect   = "Allow"
      Action   = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"]
      Resource = [module.table["state"].arn]
      Condition = {
        "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = ["follow-limits", "follow-limits-place", "follow-limits-set", "follow-limits-status"] }
      }
    }

    # A message is read before it is written over; a deletion is a tombstone, and so a write.
    write_messages = {
      Sid      = "WriteMessages"
      Effect   = "Allow"
      Action   = ["dynamodb:BatchGetItem", "dynamodb:PutItem"]
      Resource = [module.table["messages"].arn]
    }

    read_messages = {
      Sid      = "ReadMessages"
      Effect   = "Allow"
      Action   = ["dynamodb:BatchGetItem", "dynamodb:Query"]
      Resource = [module.table["messages"].arn]
    }

    look_up_limits = {
      Sid      = "LookUpLimits"
      Effect   = "Allow"
      Action   = ["dynamodb:BatchGetItem"]
      Resource = [module.table["view_limits"].arn]
    }

    look_at_tables = {
      Sid      = "LookAtTables"
      Effect   = "Allow"
      Action   = ["dynamodb:DescribeTable"]
      Resource = [module.table["messages"].arn, module.table["state"].arn, module.table["view_limits"].arn]
    }

    # doctor and provision --dry-run look for these, too.
    find_dead_letters = {
      Sid      = "FindDeadLetters"
      Effect   = "Allow"
      Action   = ["sqs:GetQueueUrl"]
      Resource = [module.queue["organizations"].dead_letters_arn, module.queue["rooms"].dead_letters_arn]
    }

    decrypt_items = {
      Sid       = "DecryptItems"
      Effect    = "Allow"
      Action    = ["kms:Decrypt"]
      Resource  = [module.key.arn]
      Condition = { StringEquals = { "kms:ViaService" = [local.services["dynamodb"]] } }
    }

    # SQS asks for both of whoever sends, and for the first of whoever receives. All who receive also send.
    encrypt_messages = {
      Sid       = "EncryptMessages"
      Effect    = "Allow"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = [module.key.arn]
      Condition = { StringEquals = { "kms:ViaService" = [local.services["sqs"]] } }
    }
  }
}
