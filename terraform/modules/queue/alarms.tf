locals {
  alarms = {
    oldest = {
      queue     = aws_sqs_queue.this.name
      metric    = "ApproximateAgeOfOldestMessage"
      threshold = var.alarm_oldest_seconds
      about     = "the oldest message waits for longer than ${var.alarm_oldest_seconds} s: workers are too few, or fail"
    }
    depth = {
      queue     = aws_sqs_queue.this.name
      metric    = "ApproximateNumberOfMessagesVisible"
      threshold = var.alarm_depth
      about     = "more than ${var.alarm_depth} messages wait"
    }
    dead-letters = {
      queue     = aws_sqs_queue.dead_letters.name
      metric    = "ApproximateNumberOfMessagesVisible"
      threshold = 0
      about     = "a message was received ${var.receives_max} times without an answer"
    }
    # SQS counts this age from the move here, but the retention from the first sending: so much time is certain, and half of it is left.
    dead-letters-expire = {
      queue     = aws_sqs_queue.dead_letters.name
      metric    = "ApproximateAgeOfOldestMessage"
      threshold = floor((var.dead_letter_retention_seconds - var.retention_seconds) / 2)
      about     = "dead letters will be lost: look at them, then let them go or send the organizations again from the ledger"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name        = "${var.name}-${each.key}"
  alarm_description = "${each.value.queue}: ${each.value.about}"

  namespace           = "AWS/SQS"
  metric_name         = each.value.metric
  dimensions          = { QueueName = each.value.queue }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  period              = 300
  evaluation_periods  = 1
  # SQS stops reporting a queue that nobody has used for hours: that is no failure.
  treat_missing_data = "notBreaching"

  alarm_actions = var.alarm_actions
  ok_actions    = var.alarm_actions
  tags          = var.tags
}
