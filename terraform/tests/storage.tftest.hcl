# The key and the bucket.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "key" {
  command = apply

  module {
    source = "./modules/key"
  }

  variables {
    alias      = "lanner"
    partition  = "aws"
    account_id = "111122223333"
    services   = { dynamodb = "dynamodb.eu-central-1.amazonaws.com", s3 = "s3.eu-central-1.amazonaws.com", sqs = "sqs.eu-central-1.amazonaws.com" }
    users      = ["arn:aws:iam::111122223333:role/merge"]
  }

  assert {
    condition     = aws_kms_key.this.enable_key_rotation && aws_kms_key.this.deletion_window_in_days == 30 && aws_kms_alias.this.name == "alias/lanner"
    error_message = "rotated, and slow to be deleted"
  }

  assert {
    condition     = alltrue([for s in jsondecode(output.policy).Statement : s.Resource == ["arn:aws:kms:eu-central-1:111122223333:key/the-key"]])
    error_message = "its policy speaks of this key"
  }

  assert {
    condition     = alltrue(flatten([for s in jsondecode(output.policy).Statement : [for word in concat(s.Action, s.Principal.AWS) : !strcontains(word, "*")]]))
    error_message = "no wildcards, in actions or in whom it allows"
  }

  # Whoever manages it reads nothing by that.
  assert {
    condition = alltrue([
      for s in jsondecode(output.policy).Statement : length(setintersection(s.Action, ["kms:Decrypt", "kms:GenerateDataKey", "kms:Encrypt", "kms:CreateGrant"])) == 0
      if s.Sid == "Administration"
    ])
    error_message = output.policy
  }

  # Everything else goes through a service.
  assert {
    condition     = alltrue([for s in jsondecode(output.policy).Statement : length(s.Condition.StringEquals["kms:ViaService"]) > 0 if s.Sid != "Administration"])
    error_message = output.policy
  }

  assert {
    condition     = [for s in jsondecode(output.policy).Statement : s.Principal.AWS if s.Sid == "Use"] == [["arn:aws:iam::111122223333:role/merge"]]
    error_message = "the roles that are named use it"
  }
}

run "bucket" {
  command = apply

  module {
    source = "./modules/bucket"
  }

  variables {
    name        = "lanner-exports"
    kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/k"
    log_bucket  = "access-logs"
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this.block_public_acls,
      aws_s3_bucket_public_access_block.this.block_public_policy,
      aws_s3_bucket_public_access_block.this.ignore_public_acls,
      aws_s3_bucket_public_access_block.this.restrict_public_buckets,
      aws_s3_bucket_ownership_controls.this.rule[0].object_ownership == "BucketOwnerEnforced",
    ])
    error_message = "private"
  }

  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled"
    error_message = "versioned"
  }

  assert {
    condition = alltrue([
      for rule in aws_s3_bucket_server_side_encryption_configuration.this.rule : alltrue([
        for by in rule.apply_server_side_encryption_by_default : by.sse_algorithm == "aws:kms" && by.kms_master_key_id == var.kms_key_arn
      ])
    ])
    error_message = "encrypted with the key"
  }

  assert {
    condition     = aws_s3_bucket_logging.this[0].target_bucket == "access-logs" && aws_s3_bucket_logging.this[0].target_prefix == "lanner-exports/"
    error_message = "who touched what is logged"
  }

  assert {
    condition     = jsondecode(output.policy).Statement[0].Resource == ["arn:aws:s3:::the-bucket", "arn:aws:s3:::the-bucket/*"]
    error_message = "the bucket and what is in it"
  }

  assert {
    condition     = jsondecode(output.policy).Statement[0].Effect == "Deny" && jsondecode(output.policy).Statement[0].Condition.Bool["aws:SecureTransport"] == "false"
    error_message = "over TLS only"
  }
}
