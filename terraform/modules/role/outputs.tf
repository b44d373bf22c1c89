output "arn" {
  description = "ARN of the role, for the annotation eks.amazonaws.com/role-arn of the service account."
  value       = aws_iam_role.this.arn
}

output "service_account" {
  description = "The service account that can take the role."
  value       = var.service_account
}

output "policy" {
  description = "What the role may do, as JSON."
  value       = aws_iam_role_policy.this.policy
}

output "trust" {
  description = "Who may take the role, as JSON."
  value       = aws_iam_role.this.assume_role_policy
}
