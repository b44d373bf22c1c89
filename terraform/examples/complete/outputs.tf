output "helm_values" {
  description = "What the chart's values take."
  value       = module.lanner.helm_values
}

output "bucket" {
  description = "Name of the bucket for exports and snapshots."
  value       = module.lanner.bucket
}
