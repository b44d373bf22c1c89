# What Lanner needs at AWS: queues, tables, a key, a bucket, a role for each job.

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

data "aws_region" "this" {}

module "queue" {
  source   = "./modules/queue"
  for_each = local.queues

  name                          = each.value
  kms_key_arn                   = module.key.arn
  retention_seconds             = var.queue_retention_days * 86400
  dead_letter_retention_seconds = var.dead_letter_retention_days * 86400
  receives_max                  = var.receives_max
  alarm_oldest_seconds          = var.alarm_oldest_minutes * 60
  alarm_depth                   = var.alarm_depth
  alarm_actions                 = var.alarm_actions
  tags                          = var.tags
}

module "table" {
  source   = "./modules/table"
  for_each = local.tables

  name                = each.value.name
  hash_key            = each.value.hash_key
  range_key           = each.value.range_key
  index               = each.value.index
  expires_by          = each.value.expires_by
  capacity            = lookup(var.capacity, each.key, null)
  recovery_days       = var.recovery_days
  deletion_protection = var.deletion_protection
  kms_key_arn         = module.key.arn
  tags                = var.tags
}

module "key" {
  source = "./modules/key"

  alias          = var.name
  partition      = data.aws_partition.this.partition
  account_id     = data.aws_caller_identity.this.account_id
  services       = local.services
  administrators = var.key_administrators
  users          = concat(sort([for role in module.role : role.arn]), var.key_users)
  deletion_days  = var.key_deletion_days
  tags           = var.tags
}

module "bucket" {
  source = "./modules/bucket"

  name            = coalesce(var.bucket_name, "${var.name}-${data.aws_caller_identity.this.account_id}-${data.aws_region.this.region}")
  kms_key_arn     = module.key.arn
  noncurrent_days = var.noncurrent_days
  log_bucket      = var.log_bucket
  tags            = var.tags
}

module "role" {
  source   = "./modules/role"
  for_each = local.roles

  name                     = "${var.name}-${each.key}"
  description              = each.value.about
  oidc_provider_arn        = var.oidc_provider_arn
  namespace                = var.namespace
  service_account          = lookup(var.service_accounts, each.key, "${var.name}-${each.key}")
  statements               = [for name in each.value.may : local.statements[name]]
  permissions_boundary_arn = var.permissions_boundary_arn
  tags                     = var.tags
}
