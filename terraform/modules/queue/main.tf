# A queue and where its messages go that nobody could answer.

resource "aws_sqs_queue" "this" {
  name = var.name

  message_retention_seconds = var.retention_seconds
  # What every region takes, and what senders count on; AWS would take 1 MiB by default.
  max_message_size  = 262144
  kms_master_key_id = var.kms_key_arn
  tags              = var.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = var.receives_max
  })
}

resource "aws_sqs_queue_policy" "this" {
  for_each = local.queues

  queue_url = each.value.url
  policy    = jsonencode({ Version = "2012-10-17", Statement = [local.only_over_tls[each.key]] })
}
