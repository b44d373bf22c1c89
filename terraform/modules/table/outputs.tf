output "name" {
  description = "Name of the table."
  value       = aws_dynamodb_table.this.name
}

output "arn" {
  description = "ARN of the table."
  value       = aws_dynamodb_table.this.arn
}

output "index_arn" {
  description = "ARN of the index; null where there is none."
  value       = var.index == null ? null : "${aws_dynamodb_table.this.arn}/index/${var.index.name}"
}
