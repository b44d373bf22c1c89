# Lanner in one account and region, with alarms that somebody hears and a table whose traffic is known.

provider "aws" {
  region = var.region

  default_tags {
    tags = { service = "lanner", environment = var.environment }
  }
}

# Production is lanner, staging is lanner-staging: so are the chart's releases called, in a namespace of that name.
locals {
  name = var.environment == "production" ? "lanner" : "lanner-${var.environment}"
}

module "lanner" {
  source = "../.."

  name              = local.name
  queue_prefix      = "${local.name}-"
  table_prefix      = "${local.name}-"
  oidc_provider_arn = var.oidc_provider_arn
  namespace         = local.name
  log_bucket        = var.log_bucket

  queue_retention_days       = 4
  dead_letter_retention_days = 14
  alarm_oldest_minutes       = 30
  alarm_depth                = 50000
  alarm_actions              = var.alarm_actions

  # Written steadily by the chat, read by every run. Limits and state stay paid by request.
  capacity = {
    messages = {
      read  = { min = 50, max = 2000 }
      write = { min = 50, max = 4000 }
    }
  }
}
