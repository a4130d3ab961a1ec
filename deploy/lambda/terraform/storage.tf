# Keys, secrets, token store, queues.
#
# `prevent_destroy` is on what cannot be made again: a key that is gone takes with it all that it has encrypted, and a
# signing key its certificate.

# --- keys

# Signs the assertions of JWT logins. Nobody can export it; its certificate belongs to the app of this stage.
resource "aws_kms_key" "signing" {
  description              = "tieline ${var.stage}: signs logins to Salesforce"
  customer_master_key_spec = "RSA_2048"
  key_usage                = "SIGN_VERIFY"
  policy                   = data.aws_iam_policy_document.signing_key.json
  deletion_window_in_days  = 30

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "signing" {
  name          = "alias/tieline-${var.stage}-signing"
  target_key_id = aws_kms_key.signing.key_id
}

# Encrypts what is stored: secrets, table, queues, logs, topic.
resource "aws_kms_key" "data" {
  description             = "tieline ${var.stage}: encrypts what is stored"
  enable_key_rotation     = true
  policy                  = data.aws_iam_policy_document.data_key.json
  deletion_window_in_days = 30

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "data" {
  name          = "alias/tieline-${var.stage}-data"
  target_key_id = aws_kms_key.data.key_id
}

# --- secrets

# The login. A person fills it after the first deployment (../README.md): empty values count as absent.
resource "aws_secretsmanager_secret" "connection" {
  name                    = "tieline/${var.stage}/connection"
  description             = "How tieline logs in to Salesforce. Filled by a person"
  kms_key_id              = aws_kms_key.data.arn
  recovery_window_in_days = 30

  lifecycle {
    prevent_destroy = true
  }
}

locals {
  login_url = coalesce(var.login_url, local.is_prod ? "https://login.salesforce.com" : "https://test.salesforce.com")

  # What the person begins with.
  connection_form = jsonencode({
    SF_LOGIN_URL        = local.login_url
    SF_CLIENT_ID        = ""
    SF_USERNAME         = ""
    TIELINE_SIGNING_KEY = "kms:${aws_kms_key.signing.arn}"
    SF_CERTIFICATE      = ""
  })
}

# Written once, at the creation, and never read: the argument is write-only, so what the person fills in is neither
# replaced nor in the state. `ignore_changes` holds that against a changed number too.
#
# One way is left to lose it: Secrets Manager forgets versions beyond the newest hundred, and a version that is gone
# Terraform would make again, as the current one. With a rotating refresh token, where each renewal is a version, that would
# be soon; so there is no such resource then, and the person puts the form in (output `connection_form`).
resource "aws_secretsmanager_secret_version" "connection" {
  count = var.rotating_refresh_token ? 0 : 1

  secret_id                = aws_secretsmanager_secret.connection.id
  secret_string_wo         = local.connection_form
  secret_string_wo_version = 1

  lifecycle {
    ignore_changes = [secret_string_wo_version, version_stages]
  }
}

# Seals what is in the token table. With another one the entries in the table are unreadable, and a rotating refresh token
# is lost.
resource "aws_secretsmanager_secret" "master_key" {
  count = var.master_key_secret_arn == null ? 1 : 0

  name                    = "tieline/${var.stage}/master-key"
  description             = "Seals tieline's tokens"
  kms_key_id              = aws_kms_key.data.arn
  recovery_window_in_days = 30

  lifecycle {
    prevent_destroy = true
  }
}

# Other than `random_password` as a resource, it is made anew at each run and stands in no state; only the first one is
# written.
ephemeral "random_password" "master_key" {
  count = var.master_key_secret_arn == null ? 1 : 0

  length  = 64
  special = false
}

resource "aws_secretsmanager_secret_version" "master_key" {
  count = var.master_key_secret_arn == null ? 1 : 0

  secret_id = aws_secretsmanager_secret.master_key[0].id
  # 64 hexadecimal digits, which are 32 bytes.
  secret_string_wo         = sha256(ephemeral.random_password.master_key[0].result)
  secret_string_wo_version = 1

  lifecycle {
    ignore_changes = [secret_string_wo_version, version_stages]
  }
}

locals {
  master_key_arn = var.master_key_secret_arn == null ? one(aws_secretsmanager_secret.master_key[*].arn) : var.master_key_secret_arn
}

# --- token store

# One token for all environments of the function. Keys and attributes are tieline's: see docs/fleet.md.
resource "aws_dynamodb_table" "tokens" {
  name                        = "tieline-${var.stage}-tokens"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "key"
  deletion_protection_enabled = local.is_prod

  attribute {
    name = "key"
    type = "S"
  }

  ttl {
    attribute_name = "expires"
    enabled        = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = aws_kms_key.data.arn
  }

  point_in_time_recovery {
    enabled = local.is_prod
  }

  lifecycle {
    prevent_destroy = true
  }
}

# --- queues

resource "aws_sqs_queue" "leads" {
  name                              = "tieline-${var.stage}-leads"
  kms_master_key_id                 = aws_kms_key.data.arn
  kms_data_key_reuse_period_seconds = 3600

  # Six times the function's timeout, as AWS asks: a batch may be throttled before it runs. So a lead that fails is tried
  # for a quarter of an hour (five times) before it is a dead letter.
  visibility_timeout_seconds = 180
  message_retention_seconds  = 345600

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = 5
  })
}

resource "aws_sqs_queue" "dead_letters" {
  name                              = "tieline-${var.stage}-leads-dead"
  kms_master_key_id                 = aws_kms_key.data.arn
  kms_data_key_reuse_period_seconds = 3600

  # The longest there is, counted from when the lead came, not from when it died.
  message_retention_seconds = 1209600
}

resource "aws_sqs_queue_policy" "leads" {
  queue_url = aws_sqs_queue.leads.id
  policy    = data.aws_iam_policy_document.only_tls["leads"].json
}

resource "aws_sqs_queue_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.id
  policy    = data.aws_iam_policy_document.only_tls["dead_letters"].json
}
