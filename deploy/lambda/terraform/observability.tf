# Logs, topic, alarms, dashboard.

resource "aws_cloudwatch_log_group" "function" {
  name              = "/tieline/${var.stage}/function"
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.data.arn
}

resource "aws_cloudwatch_log_group" "api" {
  name              = "/tieline/${var.stage}/api"
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.data.arn
}

# --- who is told

resource "aws_sns_topic" "alarms" {
  name              = "tieline-${var.stage}-alarms"
  kms_master_key_id = aws_kms_key.data.arn
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "Alarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm:tieline-${var.stage}-*"]
    }
  }

  statement {
    sid       = "OnlyTls"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sns_topic_subscription" "alarms" {
  count = var.alarm_email == null ? 0 : 1

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

# --- alarms

locals {
  function_log  = "/tieline/${var.stage}/function"
  of_function   = { FunctionName = aws_lambda_function.leads.function_name }
  of_leads      = { QueueName = aws_sqs_queue.leads.name }
  of_dead_leads = { QueueName = aws_sqs_queue.dead_letters.name }

  # One metric, one threshold. The error rate, which is computed, is below.
  alarms = {
    auth-failures = {
      namespace = "tieline", metric = "AuthFailures", dimensions = local.of_function, statistic = "Sum", above = 0
      next      = "The org refuses to log tieline in. Look for the code in the extension's lines of ${local.function_log}; docs/errors.md says what to do. Leads wait in the queue meanwhile."
    }
    login-rate = {
      namespace = "tieline", metric = "TokenRequests", dimensions = local.of_function, statistic = "Sum", above = var.login_rate_threshold
      next      = "tieline logs in far more often than it should; Salesforce stops a user at 3600 an hour. See in the dashboard whether tokens are refused as soon as they are issued, and whether the token table can be reached."
    }
    latency = {
      namespace = "AWS/Lambda", metric = "Duration", dimensions = local.of_function, percentile = "p95", above = var.latency_threshold, periods = 3
      next      = "The slowest twentieth of invocations takes too long. See in the dashboard whether TokenWait is high (login, token table) or only the duration (the org itself: status.salesforce.com)."
    }
    throttles = {
      namespace = "AWS/Lambda", metric = "Throttles", dimensions = local.of_function, statistic = "Sum", above = 0
      next      = "Lambda turns invocations away. Raise ReservedConcurrency, lower QueueConcurrency, or ask AWS for more concurrency in this account."
    }
    api-calls-left = {
      namespace = "tieline", metric = "ApiCallsLeftPercent", dimensions = local.of_function, statistic = "Minimum", below = 10, period = 900
      next      = "Less than a tenth of the org's API calls is left for these 24 hours. See Setup, Company Information and API Usage, for who spends them; stop the trigger of the queue until it is over, leads wait four days."
    }
    certificate = {
      namespace = "tieline", metric = "CertificateDaysLeft", dimensions = local.of_function, statistic = "Minimum", below = 30, period = 3600
      next      = "The certificate of the app ends within 30 days, and logins with it. Make another key and certificate (deploy/lambda/README.md says how), and put them into the secret tieline/${var.stage}/connection."
    }
    lag = {
      namespace = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", dimensions = local.of_leads, statistic = "Maximum", above = 900
      next      = "A lead has waited for a quarter of an hour. Look for other alarms first, then for WARN in ${local.function_log}; after five attempts a lead becomes a dead letter."
    }
    dead-letters = {
      namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = local.of_dead_leads, statistic = "Maximum", above = 0
      next      = "Leads have failed five times. Find their reasons by messageId in ${local.function_log}, mend the cause, and redrive the queue tieline-${var.stage}-leads-dead. They are deleted after 14 days."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "simple" {
  for_each = local.alarms

  alarm_name          = "tieline-${var.stage}-${each.key}"
  alarm_description   = each.value.next
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = try(each.value.statistic, null)
  extended_statistic  = try(each.value.percentile, null)
  period              = try(each.value.period, 300)
  evaluation_periods  = try(each.value.periods, 1)
  datapoints_to_alarm = try(each.value.periods - 1, null)
  comparison_operator = can(each.value.below) ? "LessThanThreshold" : "GreaterThanThreshold"
  threshold           = try(each.value.below, each.value.above)
  # The days that a certificate has left are told only when a token is asked for.
  treat_missing_data  = each.key == "certificate" ? "ignore" : "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "error_rate" {
  alarm_name          = "tieline-${var.stage}-error-rate"
  alarm_description   = "More than one invocation in twenty fails. Look for ERROR in ${local.function_log}. After a deployment, go back to the version before."
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 5
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]

  metric_query {
    id          = "rate"
    label       = "Invocations that failed, per cent"
    expression  = "IF(invocations > 0, 100 * errors / invocations, 0)"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { errors = "Errors", invocations = "Invocations" }

    content {
      id          = metric_query.key
      return_data = false

      metric {
        namespace   = "AWS/Lambda"
        metric_name = metric_query.value
        dimensions  = local.of_function
        stat        = "Sum"
        period      = 300
      }
    }
  }
}

# --- dashboard

locals {
  name = aws_lambda_function.leads.function_name

  # Rows of three: title, metrics (namespace, name, dimension, value, and what is different), statistic of all.
  graphs = [
    { title = "Tokens", stat = "Sum", metrics = [for name in ["TokensServed", "TokenCacheHits", "TokenRequests", "TokenRefusals"] : ["tieline", name, "FunctionName", local.name]] },
    { title = "Failures to get a token", stat = "Sum", metrics = [for name in ["AuthFailures", "TokenErrors"] : ["tieline", name, "FunctionName", local.name]] },
    { title = "Waiting for a token, milliseconds", stat = "p95", metrics = [for stat in ["p50", "p95", "Maximum"] : ["tieline", "TokenWait", "FunctionName", local.name, { stat = stat }]] },

    { title = "Function: duration, milliseconds", stat = "p95", metrics = [for stat in ["p50", "p95", "Maximum"] : ["AWS/Lambda", "Duration", "FunctionName", local.name, { stat = stat }]] },
    { title = "Function: invocations, errors, throttles", stat = "Sum", metrics = [for name in ["Invocations", "Errors", "Throttles"] : ["AWS/Lambda", name, "FunctionName", local.name]] },
    { title = "Function: environments at once", stat = "Maximum", metrics = [["AWS/Lambda", "ConcurrentExecutions", "FunctionName", local.name]] },

    { title = "Queue: age of the oldest lead, seconds", stat = "Maximum", metrics = [["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", aws_sqs_queue.leads.name]] },
    { title = "Queue: leads waiting and under way", stat = "Maximum", metrics = [for name in ["ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible"] : ["AWS/SQS", name, "QueueName", aws_sqs_queue.leads.name]] },
    { title = "Dead letters", stat = "Maximum", metrics = [["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.dead_letters.name]] },

    { title = "API calls left", stat = "Minimum", metrics = [["tieline", "ApiCallsLeft", "FunctionName", local.name], ["tieline", "ApiCallsLeftPercent", "FunctionName", local.name, { yAxis = "right" }]] },
    { title = "Certificate: days left", stat = "Minimum", metrics = [["tieline", "CertificateDaysLeft", "FunctionName", local.name]] },
  ]
}

resource "aws_cloudwatch_dashboard" "tieline" {
  dashboard_name = "tieline-${var.stage}"
  dashboard_body = jsonencode({
    widgets = [for index, graph in local.graphs : {
      type   = "metric"
      x      = 8 * (index % 3)
      y      = 6 * floor(index / 3)
      width  = 8
      height = 6
      properties = {
        title   = graph.title
        region  = local.region
        view    = "timeSeries"
        stat    = graph.stat
        period  = 300
        metrics = graph.metrics
      }
    }]
  })
}
