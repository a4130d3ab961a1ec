variable "stage" {
  description = "Part of all names. In prod the table is protected against deletion and backed up continuously"
  type        = string

  validation {
    condition     = contains(["dev", "prod"], var.stage)
    error_message = "The stage is dev or prod."
  }
}

variable "layer_zip" {
  description = "The layer with tieline-extension for arm64, as `cargo xtask dist lambda` builds it"
  type        = string
}

variable "function_dist" {
  description = "The folder with the bundled function, as `npm run build` in ../function makes it"
  type        = string
}

variable "login_url" {
  description = "Where the app logs in; best the org's My Domain. Null: test.salesforce.com in dev, login.salesforce.com in prod. Only for the first deployment: see the secret `connection`"
  type        = string
  default     = null

  validation {
    condition     = var.login_url == null ? true : can(regex("^https://[A-Za-z0-9.-]+$", var.login_url))
    error_message = "The login URL is https:// and a host, and nothing else."
  }
}

variable "lead_external_id" {
  description = "Field of Lead that identifies one (text, external id, unique)"
  type        = string
  default     = "Tieline_Id__c"

  validation {
    condition     = can(regex("^[A-Za-z]\\w*$", var.lead_external_id))
    error_message = "This is no name of a field."
  }
}

variable "alarm_email" {
  description = "Who is told of alarms; must confirm the subscription. Null is nobody"
  type        = string
  default     = null
}

variable "schedule_rate" {
  description = "How often the org is asked for the API calls left. One call each time"
  type        = string
  default     = "rate(15 minutes)"
}

variable "log_retention_days" {
  description = "How long logs are kept"
  type        = number
  default     = 30
}

variable "reserved_concurrency" {
  description = "Environments that are set aside for the function, and its limit. -1 is none"
  type        = number
  default     = -1
}

variable "queue_concurrency" {
  description = "Batches of ten leads that are worked on at once; not more than reserved_concurrency"
  type        = number
  default     = 10

  validation {
    condition     = var.queue_concurrency >= 2 && var.queue_concurrency <= 1000
    error_message = "Lambda takes 2 to 1000."
  }
}

variable "api_rate_limit" {
  description = "Requests a second that the API takes in the long run"
  type        = number
  default     = 20
}

variable "api_burst_limit" {
  description = "Requests that the API takes at once"
  type        = number
  default     = 40
}

variable "login_rate_threshold" {
  description = "Token requests in five minutes that are an alarm. A user may log in 300 times in that time"
  type        = number
  default     = 100
}

variable "latency_threshold" {
  description = "Milliseconds of the slowest twentieth of invocations that are an alarm"
  type        = number
  default     = 10000
}

variable "rotating_refresh_token" {
  description = "The app rotates refresh tokens, and the extension may write the newest one to the secret `connection`"
  type        = bool
  default     = false
}

variable "more_signing_keys" {
  description = "ARNs of other keys that sign logins: a new certificate needs a new key"
  type        = list(string)
  default     = []
}

variable "tracing" {
  description = "X-Ray"
  type        = bool
  default     = false
}

variable "vpc_id" {
  description = "Null is no VPC. In a VPC the way to Salesforce needs a NAT gateway"
  type        = string
  default     = null
}

variable "subnet_ids" {
  description = "Private subnets of that VPC, in two zones or more"
  type        = list(string)
  default     = []

  validation {
    condition     = (var.vpc_id == null) == (length(var.subnet_ids) == 0)
    error_message = "vpc_id and subnet_ids go together."
  }
}

variable "route_table_ids" {
  description = "Route tables of these subnets, for the endpoint of DynamoDB"
  type        = list(string)
  default     = []
}

variable "vpc_endpoints" {
  description = "Endpoints for AWS's services, which admit this function alone. Only in a VPC that is its own"
  type        = bool
  default     = false
}

variable "master_key_secret_arn" {
  description = "A secret made elsewhere that holds the master key (32 bytes in base64, or 64 hexadecimal digits). Null: one is made here"
  type        = string
  default     = null
}

variable "master_key_kms_key_arn" {
  description = "The key that encrypts master_key_secret_arn, if it is not the account's own for Secrets Manager"
  type        = string
  default     = null
}
