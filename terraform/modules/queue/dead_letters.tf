# A safety net: attempts are counted in the ledger, and what keeps failing is parked there long before SQS gives a message up.

resource "aws_sqs_queue" "dead_letters" {
  name = "${var.name}-dead-letters"

  message_retention_seconds = var.dead_letter_retention_seconds
  max_message_size          = 262144
  kms_master_key_id         = var.kms_key_arn
  tags                      = var.tags
}

resource "aws_sqs_queue_redrive_allow_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.url

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.this.arn]
  })
}
