//! What goes wrong with a request, sorted by what the caller does about it.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::http::Response;
use chat::{BoxError, PortError};

/// What a caller does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Slow down, then try again.
    Throttled,
    /// Try again.
    Unavailable,
    /// Never try again.
    Refused,
    /// The table or queue is not there.
    Missing,
}

impl Kind {
    pub(crate) fn is_temporary(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable)
    }

    /// The kind of an error code with its HTTP status (0 = unknown).
    pub(crate) fn of(code: &str, status: u16) -> Self {
        // Before the protocol became JSON, codes of SQS were `AWS.SimpleQueueService.NonExistentQueue` and the like.
        let code = code.rsplit('.').next().unwrap_or(code);
        match code {
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "Throttling"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "LimitExceededException"
            | "SlowDown"
            | "OverLimit" => Self::Throttled,
            "InternalServerError"
            | "InternalFailure"
            | "InternalError"
            | "ServiceUnavailable"
            | "RequestTimeout"
            | "RequestTimeoutException"
            | "TransactionInProgressException"
            | "ReplicatedWriteConflictException"
            // Renewed credentials, or a clock that is put right, make the same request good.
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "RequestExpired" => Self::Unavailable,
            "ResourceNotFoundException" | "QueueDoesNotExist" | "NonExistentQueue" => Self::Missing,
            _ if status == 429 => Self::Throttled,
            _ if status >= 500 => Self::Unavailable,
            _ => Self::Refused,
        }
    }
}

/// A failed request.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) kind: Kind,
    /// The service's code, or an empty text.
    pub(crate) code: String,
    pub(crate) source: BoxError,
}

impl Failed {
    /// No answer came in time.
    pub(crate) fn timeout(source: tokio::time::error::Elapsed) -> Self {
        Self { kind: Kind::Unavailable, code: String::new(), source: source.into() }
    }

    /// A part of a batch was left undone: the pace is too high.
    pub(crate) fn unprocessed(left: usize) -> Self {
        let source = format!("{left} entries of the batch were not processed").into();
        Self { kind: Kind::Throttled, code: String::new(), source }
    }

    /// As the error of a port; `what` is what was to be reached, for example `the table messages`.
    pub(crate) fn port_error(self, what: &str) -> PortError {
        let what = what.to_owned();
        match self.kind {
            Kind::Throttled => PortError::Throttled { what, source: Some(self.source) },
            Kind::Unavailable => PortError::Unavailable { what, retry_after: None, source: Some(self.source) },
            Kind::Refused => PortError::Refused { what: format!("{what} refused"), source: Some(self.source) },
            Kind::Missing => PortError::Refused {
                what: format!("{what} does not exist (provision it, or check region and name)"),
                source: Some(self.source),
            },
        }
    }
}

impl<E> From<SdkError<E, Response>> for Failed
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E, Response>) -> Self {
        let code = error.as_service_error().and_then(|e| e.code()).unwrap_or_default().to_owned();
        let kind = match &error {
            SdkError::ServiceError(service) => Kind::of(&code, service.raw().status().as_u16()),
            SdkError::ResponseError(response) if response.raw().status().as_u16() < 500 => Kind::Unavailable,
            SdkError::DispatchFailure(dispatch) if dispatch.is_user() => Kind::Refused,
            // Nothing was sent: a region, an address or a parameter is missing or cannot be.
            SdkError::ConstructionFailure(_) => Kind::Refused,
            _ => Kind::Unavailable,
        };
        Self { kind, code, source: error.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_by_what_the_caller_does() {
        for (code, status, kind) in [
            ("ProvisionedThroughputExceededException", 400, Kind::Throttled),
            ("ThrottlingException", 400, Kind::Throttled),
            ("anything", 429, Kind::Throttled),
            ("InternalServerError", 500, Kind::Unavailable),
            ("", 503, Kind::Unavailable),
            ("ExpiredTokenException", 400, Kind::Unavailable),
            ("ResourceNotFoundException", 400, Kind::Missing),
            ("AWS.SimpleQueueService.NonExistentQueue", 400, Kind::Missing),
            ("ValidationException", 400, Kind::Refused),
            ("AccessDeniedException", 403, Kind::Refused),
        ] {
            assert_eq!(Kind::of(code, status), kind, "{code} {status}");
        }
    }

    #[test]
    fn a_port_error_keeps_its_cause_and_says_where() {
        let failed = Failed { kind: Kind::Throttled, code: String::new(), source: "too fast".into() };
        let error = failed.port_error("the table messages");
        assert_eq!(error.class(), "throttled");
        assert_eq!(error.to_string(), "the table messages asks for a slower pace");
        assert_eq!(std::error::Error::source(&error).map(ToString::to_string), Some("too fast".to_owned()));
    }
}
