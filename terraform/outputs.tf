output "helm_values" {
  description = "What the chart's values take: write it to a file with terraform output -json helm_values and give it to helm with --values."
  value = {
    aws      = { region = data.aws_region.this.region }
    sqs      = { queuePrefix = var.queue_prefix }
    dynamodb = { tablePrefix = var.table_prefix }
    queues = {
      for name, queue in module.queue : name => { name = local.queues[name], url = queue.url, deadLettersUrl = queue.dead_letters_url }
    }
    tables = { for name, table in module.table : name => table.name }
    serviceAccounts = {
      for name, role in module.role : name => {
        name        = role.service_account
        annotations = { "eks.amazonaws.com/role-arn" = role.arn }
      }
    }
  }
}

output "role_arns" {
  description = "ARN of each role, by its job or command."
  value       = { for name, role in module.role : name => role.arn }
}

output "queue_arns" {
  description = "ARN of each queue, for a scaler or a dashboard."
  value       = { for name, queue in module.queue : name => queue.arn }
}

output "kms_key_arn" {
  description = "ARN of the key."
  value       = module.key.arn
}

output "bucket" {
  description = "Name of the bucket for exports and snapshots."
  value       = module.bucket.name
}
