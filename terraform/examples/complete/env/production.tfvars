environment       = "production"
region            = "eu-central-1"
oidc_provider_arn = "arn:aws:iam::222222222222:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLE"
alarm_actions     = ["arn:aws:sns:eu-central-1:222222222222:on-call"]
log_bucket        = "access-logs-222222222222-eu-central-1"
