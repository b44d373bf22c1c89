output "arn" {
  description = "ARN of the key."
  value       = aws_kms_key.this.arn
}

output "policy" {
  description = "Who may do what with the key, as JSON."
  value       = aws_kms_key_policy.this.policy
}
