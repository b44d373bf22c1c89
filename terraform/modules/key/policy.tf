# In a key's policy the account stands for those whom IAM allows it; a role or user stands for itself.

locals {
  account = "arn:${var.partition}:iam::${var.account_id}:root"

  statements = [
    {
      # Managing it does not include reading what it encrypts.
      Sid       = "Administration"
      Effect    = "Allow"
      Principal = { AWS = length(var.administrators) == 0 ? [local.account] : var.administrators }
      Action = [
        "kms:CancelKeyDeletion",
        "kms:CreateAlias",
        "kms:DeleteAlias",
        "kms:DescribeKey",
        "kms:DisableKey",
        "kms:DisableKeyRotation",
        "kms:EnableKey",
        "kms:EnableKeyRotation",
        "kms:GetKeyPolicy",
        "kms:GetKeyRotationStatus",
        "kms:ListGrants",
        "kms:ListKeyPolicies",
        "kms:ListResourceTags",
        "kms:PutKeyPolicy",
        "kms:RevokeGrant",
        "kms:ScheduleKeyDeletion",
        "kms:TagResource",
        "kms:UntagResource",
        "kms:UpdateAlias",
        "kms:UpdateKeyDescription",
      ]
      Resource = [aws_kms_key.this.arn]
    },
    {
      # Whoever reads or writes a queue, a table or an object, and only by asking its service.
      Sid       = "Use"
      Effect    = "Allow"
      Principal = { AWS = var.users }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = [aws_kms_key.this.arn]
      Condition = { StringEquals = { "kms:ViaService" = values(var.services) } }
    },
    {
      # Whoever makes a table with this key, by asking DynamoDB, which proves the key before it takes it.
      Sid       = "Tables"
      Effect    = "Allow"
      Principal = { AWS = [local.account] }
      Action = [
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:Encrypt",
        "kms:GenerateDataKey",
        "kms:GenerateDataKeyWithoutPlaintext",
        "kms:ReEncryptFrom",
        "kms:ReEncryptTo",
      ]
      Resource = [aws_kms_key.this.arn]
      Condition = {
        StringEquals = { "kms:ViaService" = [var.services["dynamodb"]], "kms:CallerAccount" = [var.account_id] }
      }
    },
    {
      # DynamoDB keeps using the key in the background by a grant.
      Sid       = "Grants"
      Effect    = "Allow"
      Principal = { AWS = [local.account] }
      Action    = ["kms:CreateGrant"]
      Resource  = [aws_kms_key.this.arn]
      Condition = {
        Bool         = { "kms:GrantIsForAWSResource" = "true" }
        StringEquals = { "kms:ViaService" = [var.services["dynamodb"]], "kms:CallerAccount" = [var.account_id] }
      }
    },
  ]
}
