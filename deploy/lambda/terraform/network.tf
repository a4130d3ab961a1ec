# Only with vpc_id. Salesforce is on the internet: the subnets need a route to a NAT gateway as well.

locals {
  makes_endpoints = local.uses_vpc && var.vpc_endpoints
  # Lambda delivers the function's log by itself; `logs` is for code that writes to CloudWatch Logs.
  interfaces = local.makes_endpoints ? toset(["secretsmanager", "kms", "sqs", "logs"]) : toset([])
}

resource "aws_security_group" "function" {
  count = local.uses_vpc ? 1 : 0

  name_prefix = "tieline-${var.stage}-function-"
  description = "tieline ${var.stage}: the function"
  vpc_id      = var.vpc_id
}

# Salesforce's addresses change, so they cannot be listed here.
resource "aws_vpc_security_group_egress_rule" "function" {
  count = local.uses_vpc ? 1 : 0

  security_group_id = aws_security_group.function[0].id
  description       = "Salesforce and AWS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

# Endpoints answer and never call: no rule for what goes out.
resource "aws_security_group" "endpoints" {
  count = local.makes_endpoints ? 1 : 0

  name_prefix = "tieline-${var.stage}-endpoints-"
  description = "tieline ${var.stage}: endpoints of AWS services"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  count = local.makes_endpoints ? 1 : 0

  security_group_id            = aws_security_group.endpoints[0].id
  description                  = "The function"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.function[0].id
}

# Identities of this account, for resources of this account: nothing can be carried out to another one.
data "aws_iam_policy_document" "endpoint" {
  statement {
    actions   = ["*"]
    resources = ["*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [local.account]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.interfaces

  vpc_endpoint_type   = "Interface"
  service_name        = "com.amazonaws.${local.region}.${each.key}"
  vpc_id              = var.vpc_id
  subnet_ids          = var.subnet_ids
  security_group_ids  = [aws_security_group.endpoints[0].id]
  private_dns_enabled = true
  policy              = data.aws_iam_policy_document.endpoint.json
}

resource "aws_vpc_endpoint" "dynamodb" {
  count = local.makes_endpoints && length(var.route_table_ids) > 0 ? 1 : 0

  vpc_endpoint_type = "Gateway"
  service_name      = "com.amazonaws.${local.region}.dynamodb"
  vpc_id            = var.vpc_id
  route_table_ids   = var.route_table_ids
  policy            = data.aws_iam_policy_document.endpoint.json
}
