# One key for everything that Lanner keeps at AWS.

resource "aws_kms_key" "this" {
  description             = "Lanner's queues, tables and exports"
  enable_key_rotation     = true
  deletion_window_in_days = var.deletion_days
  tags                    = var.tags
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.alias}"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_kms_key_policy" "this" {
  key_id = aws_kms_key.this.key_id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.statements })
}
