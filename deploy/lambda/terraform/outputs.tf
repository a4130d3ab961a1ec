output "api_url" {
  description = "Where leads are sent, signed"
  value       = "${aws_apigatewayv2_api.leads.api_endpoint}/leads"
}

output "function_name" {
  value = aws_lambda_function.leads.function_name
}

output "connection_secret" {
  description = "To be filled by a person"
  value       = aws_secretsmanager_secret.connection.arn
}

output "connection_form" {
  description = "What goes into that secret, with the values that are known"
  value       = local.connection_form
}

output "signing_key_alias" {
  description = "For `tieline setup jwt --key`"
  value       = "kms:${aws_kms_alias.signing.name}"
}

output "dead_letter_queue_url" {
  value = aws_sqs_queue.dead_letters.url
}

output "alarm_topic_arn" {
  value = aws_sns_topic.alarms.arn
}

output "dashboard_name" {
  value = aws_cloudwatch_dashboard.tieline.dashboard_name
}
