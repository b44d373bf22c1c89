environment       = "staging"
region            = "eu-central-1"
oidc_provider_arn = "arn:aws:iam::111111111111:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLE"
alarm_actions     = ["arn:aws:sns:eu-central-1:111111111111:on-call"]
log_bucket        = "access-logs-111111111111-eu-central-1"
