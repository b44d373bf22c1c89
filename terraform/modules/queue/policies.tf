# Who may come at all. What each role may do here stands in the roles' own policies.

locals {
  queues = {
    source       = aws_sqs_queue.this
    dead_letters = aws_sqs_queue.dead_letters
  }

  only_over_tls = {
    for name, queue in local.queues : name => {
      Sid       = "OnlyOverTls"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      # Written out: all that touches messages.
      Action = [
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:GetQueueUrl",
        "sqs:PurgeQueue",
        "sqs:ReceiveMessage",
        "sqs:SendMessage",
      ]
      Resource  = [queue.arn]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }
  }
}
