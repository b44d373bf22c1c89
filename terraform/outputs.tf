output "helm_values" {
  description = "What the chart's values take, and nothing else: terraform output -json helm_values > lanner.aws.json, then helm --values lanner.aws.json."
  value = {
    settings = {
      aws      = { region = data.aws_region.this.region }
      dynamodb = { table_prefix = var.table_prefix }
      sqs      = { queue_prefix = var.queue_prefix }
    }
    extractOrganizations = { roleArn = module.role["extract-organizations"].arn }
    collectRooms         = { roleArn = module.role["collect-rooms"].arn }
    mergeNewest          = { roleArn = module.role["merge-newest"].arn }
    serveWrites          = { roleArn = try(module.role["serve-writes"].arn, "") }
    buildReadModel       = { roleArn = try(module.role["build-read-model"].arn, "") }
    serveReads           = { roleArn = try(module.role["serve-reads"].arn, "") }
    followLimits         = { roleArn = try(module.role["follow-limits"].arn, "") }
    rerun                = { roleArn = module.role["rerun"].arn }
    autoscaling          = { accountId = data.aws_caller_identity.this.account_id }
  }
}

output "region" {
  description = "The region that everything is in."
  value       = data.aws_region.this.region
}

output "role_arns" {
  description = "ARN of each role, by its job or command."
  value       = { for name, role in module.role : name => role.arn }
}

output "service_accounts" {
  description = "The service account that each role is for."
  value       = { for name, role in module.role : name => role.service_account }
}

output "queue_urls" {
  description = "Address of each queue and of its dead letters."
  value = merge(
    { for name, queue in module.queue : name => queue.url },
    { for name, queue in module.queue : "${name}-dead-letters" => queue.dead_letters_url },
  )
}

output "queue_arns" {
  description = "ARN of each queue, for whoever scales by its depth."
  value       = { for name, queue in module.queue : name => queue.arn }
}

output "table_names" {
  description = "Name of each table."
  value       = { for name, table in module.table : name => table.name }
}

output "kms_key_arn" {
  description = "ARN of the key."
  value       = module.key.arn
}

output "bucket" {
  description = "Name of the bucket for exports and snapshots."
  value       = module.bucket.name
}
