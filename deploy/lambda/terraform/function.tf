# The function with its layer, and what calls it: API, queue, schedule.

data "archive_file" "function" {
  type        = "zip"
  source_dir  = var.function_dist
  output_path = "${path.root}/.terraform/tieline-${var.stage}-leads.zip"
}

resource "aws_lambda_layer_version" "extension" {
  layer_name               = "tieline-${var.stage}-extension"
  description              = "Hands out Salesforce tokens on localhost"
  filename                 = var.layer_zip
  source_code_hash         = filebase64sha256(var.layer_zip)
  compatible_architectures = ["arm64"]
  # The layer before stays for a way back.
  skip_destroy = true
}

resource "aws_lambda_function" "leads" {
  function_name                  = "tieline-${var.stage}-leads"
  description                    = "Takes leads, upserts them to Salesforce"
  filename                       = data.archive_file.function.output_path
  source_code_hash               = data.archive_file.function.output_base64sha256
  handler                        = "handler.handler"
  runtime                        = "nodejs22.x"
  architectures                  = ["arm64"]
  memory_size                    = 256
  timeout                        = 30
  role                           = aws_iam_role.function.arn
  layers                         = [aws_lambda_layer_version.extension.arn]
  reserved_concurrent_executions = var.reserved_concurrency

  # Names of places, no secrets.
  environment {
    variables = {
      STAGE               = var.stage
      QUEUE_URL           = aws_sqs_queue.leads.url
      LEAD_EXTERNAL_ID    = var.lead_external_id
      TIELINE_CONNECTIONS = "default=secretsmanager:${aws_secretsmanager_secret.connection.arn}"
      TIELINE_TOKEN_STORE = "dynamodb:${aws_dynamodb_table.tokens.name}"
      TIELINE_MASTER_KEY  = "secretsmanager:${local.master_key_arn}"
    }
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.function.name
    log_format            = "JSON"
    application_log_level = "INFO"
    system_log_level      = "INFO"
  }

  tracing_config {
    mode = var.tracing ? "Active" : "PassThrough"
  }

  dynamic "vpc_config" {
    for_each = local.uses_vpc ? [1] : []

    content {
      subnet_ids         = var.subnet_ids
      security_group_ids = [aws_security_group.function[0].id]
    }
  }

  # Lambda looks at the role's policies when the function and its trigger are made.
  depends_on = [aws_iam_role_policy.function, aws_iam_role_policy.network, aws_iam_role_policy.tracing]
}

# --- the queue

resource "aws_lambda_event_source_mapping" "leads" {
  event_source_arn        = aws_sqs_queue.leads.arn
  function_name           = aws_lambda_function.leads.arn
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = var.queue_concurrency
  }
}

# --- the schedule

resource "aws_cloudwatch_event_rule" "limits" {
  name                = "tieline-${var.stage}-limits"
  description         = "Keeps the metric of API calls left current"
  schedule_expression = var.schedule_rate
}

resource "aws_cloudwatch_event_target" "limits" {
  rule = aws_cloudwatch_event_rule.limits.name
  arn  = aws_lambda_function.leads.arn
}

resource "aws_lambda_permission" "limits" {
  statement_id  = "schedule"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.leads.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.limits.arn
}

# --- the API: a caller signs with IAM credentials and needs execute-api:Invoke on the route

resource "aws_apigatewayv2_api" "leads" {
  name          = "tieline-${var.stage}"
  protocol_type = "HTTP"
}

resource "aws_apigatewayv2_integration" "leads" {
  api_id                 = aws_apigatewayv2_api.leads.id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.leads.invoke_arn
  payload_format_version = "2.0"
}

resource "aws_apigatewayv2_route" "leads" {
  api_id             = aws_apigatewayv2_api.leads.id
  route_key          = "POST /leads"
  authorization_type = "AWS_IAM"
  target             = "integrations/${aws_apigatewayv2_integration.leads.id}"
}

resource "aws_apigatewayv2_stage" "default" {
  api_id      = aws_apigatewayv2_api.leads.id
  name        = "$default"
  auto_deploy = true

  default_route_settings {
    throttling_rate_limit    = var.api_rate_limit
    throttling_burst_limit   = var.api_burst_limit
    detailed_metrics_enabled = true
  }

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.api.arn
    # Who called and how it went; no addresses, and nothing of the body.
    format = jsonencode({
      time         = "$context.requestTime"
      request      = "$context.requestId"
      route        = "$context.routeKey"
      status       = "$context.status"
      caller       = "$context.identity.userArn"
      milliseconds = "$context.responseLatency"
      bytes        = "$context.responseLength"
      error        = "$context.error.message"
    })
  }
}

resource "aws_lambda_permission" "api" {
  statement_id  = "api"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.leads.function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.leads.execution_arn}/*/POST/leads"
}
