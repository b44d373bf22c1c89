# The queue and its dead letters.

mock_provider "aws" {
  source = "./tests/mocks"

  override_resource {
    target = aws_sqs_queue.dead_letters
    values = { arn = "arn:aws:sqs:eu-central-1:111122223333:q-dead-letters", url = "dead" }
  }
  override_resource {
    target = aws_sqs_queue.this
    values = { arn = "arn:aws:sqs:eu-central-1:111122223333:q", url = "source" }
  }
}

variables {
  name                          = "q"
  kms_key_arn                   = "arn:aws:kms:eu-central-1:111122223333:key/k"
  retention_seconds             = 345600
  dead_letter_retention_seconds = 1209600
  receives_max                  = 100
  alarm_oldest_seconds          = 3600
  alarm_depth                   = 7
  alarm_actions                 = ["arn:aws:sns:eu-central-1:111122223333:pager"]
}

run "queue" {
  command = apply

  module {
    source = "./modules/queue"
  }

  assert {
    condition     = aws_sqs_queue.this.name == "q" && aws_sqs_queue.dead_letters.name == "q-dead-letters"
    error_message = "names"
  }

  assert {
    condition     = aws_sqs_queue.dead_letters.message_retention_seconds > aws_sqs_queue.this.message_retention_seconds
    error_message = "a dead letter outlives its message"
  }

  assert {
    condition = jsondecode(aws_sqs_queue.this.redrive_policy) == {
      deadLetterTargetArn = "arn:aws:sqs:eu-central-1:111122223333:q-dead-letters"
      maxReceiveCount     = 100
    }
    error_message = aws_sqs_queue.this.redrive_policy
  }

  assert {
    condition = jsondecode(aws_sqs_queue_redrive_allow_policy.dead_letters.redrive_allow_policy) == {
      redrivePermission = "byQueue"
      sourceQueueArns   = ["arn:aws:sqs:eu-central-1:111122223333:q"]
    } && aws_sqs_queue_redrive_allow_policy.dead_letters.queue_url == "dead"
    error_message = "only this queue sends there"
  }

  assert {
    condition     = alltrue([for queue in [aws_sqs_queue.this, aws_sqs_queue.dead_letters] : queue.kms_master_key_id == var.kms_key_arn])
    error_message = "both are encrypted"
  }

  assert {
    condition = alltrue([
      for name, url in { source = "source", dead_letters = "dead" } :
      aws_sqs_queue_policy.this[name].queue_url == url
      && jsondecode(aws_sqs_queue_policy.this[name].policy).Statement[0].Effect == "Deny"
      && jsondecode(aws_sqs_queue_policy.this[name].policy).Statement[0].Condition.Bool["aws:SecureTransport"] == "false"
    ])
    error_message = "over TLS only"
  }

  assert {
    condition     = jsondecode(aws_sqs_queue_policy.this["dead_letters"].policy).Statement[0].Resource == ["arn:aws:sqs:eu-central-1:111122223333:q-dead-letters"]
    error_message = "a policy speaks of its own queue"
  }

  assert {
    condition = {
      for name, alarm in aws_cloudwatch_metric_alarm.this : name => "${alarm.dimensions.QueueName} ${alarm.metric_name} > ${alarm.threshold}"
      } == {
      oldest              = "q ApproximateAgeOfOldestMessage > 3600"
      depth               = "q ApproximateNumberOfMessagesVisible > 7"
      dead-letters        = "q-dead-letters ApproximateNumberOfMessagesVisible > 0"
      dead-letters-expire = "q-dead-letters ApproximateAgeOfOldestMessage > 432000"
    }
    error_message = jsonencode({ for name, alarm in aws_cloudwatch_metric_alarm.this : name => alarm.threshold })
  }

  assert {
    condition = alltrue([
      for alarm in aws_cloudwatch_metric_alarm.this :
      alarm.comparison_operator == "GreaterThanThreshold" && alarm.namespace == "AWS/SQS" && alarm.alarm_actions == toset(var.alarm_actions)
    ])
    error_message = "every alarm tells somebody"
  }
}
