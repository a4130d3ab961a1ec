# The stage dev. Its own state, and better its own account.
terraform {
  required_version = ">= 1.11"

  # A state that is shared, encrypted and locked. No secret is in it, but names and ids are.
  backend "s3" {
    bucket       = "acme-terraform-dev"
    key          = "tieline.tfstate"
    region       = "eu-central-1"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = "eu-central-1"
}

variable "alarm_email" {
  description = "Who is told of alarms"
  type        = string
  default     = null
}

module "tieline" {
  source = "../.."

  stage         = "dev"
  layer_zip     = "${path.root}/../../../../../target/dist/tieline-extension-arm64.zip"
  function_dist = "${path.root}/../../../function/dist"

  # Better the org's My Domain.
  login_url          = "https://test.salesforce.com"
  alarm_email        = var.alarm_email
  log_retention_days = 14
  latency_threshold  = 15000
}

output "tieline" {
  value = module.tieline
}
