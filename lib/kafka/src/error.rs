//! What the client's errors mean to who calls the port.

use krafka::KrafkaError;
use krafka::ProtocolErrorKind;
use krafka::error::ErrorCode;
use worker::log::LogError;

pub(crate) fn refused(log: &str, what: impl Into<String>) -> LogError {
    LogError::Refused { log: log.to_owned(), what: what.into() }
}

pub(crate) fn unavailable(log: &str, source: KrafkaError) -> LogError {
    LogError::Unavailable { log: log.to_owned(), source: Box::new(source) }
}

pub(crate) fn unknown(log: &str, source: KrafkaError) -> LogError {
    LogError::Unknown { log: log.to_owned(), source: Box::new(source) }
}

/// Of a request that changes nothing, or that was never sent.
pub(crate) fn while_asking(log: &str, error: KrafkaError) -> LogError {
    match &error {
        _ if error.is_retriable() => unavailable(log, error),
        KrafkaError::DeliveryTimeout { .. } | KrafkaError::Closed { .. } | KrafkaError::Wakeup => {
            unavailable(log, error)
        }
        KrafkaError::Protocol { kind, .. } if *kind != ProtocolErrorKind::UnknownApiVersion => {
            LogError::Corrupt { log: log.to_owned(), what: error.to_string() }
        }
        KrafkaError::Compression { .. } => LogError::Corrupt { log: log.to_owned(), what: error.to_string() },
        _ => refused(log, error.to_string()),
    }
}

/// Of records that were handed to the client to send.
pub(crate) fn of_append(log: &str, error: KrafkaError) -> LogError {
    match &error {
        KrafkaError::DeliveryTimeout { possibly_written: false, .. } => unavailable(log, error),
        // A broker that answers so has looked at the records and not stored them.
        KrafkaError::Broker { code, .. } if !code.is_retriable() => refused(log, error.to_string()),
        KrafkaError::Config { .. } | KrafkaError::Serialization { .. } | KrafkaError::UnknownTopic { .. } => {
            refused(log, error.to_string())
        }
        _ => unknown(log, error),
    }
}

/// Of a commit.
pub(crate) fn of_commit(log: &str, partition: u32, error: KrafkaError) -> LogError {
    match &error {
        // The coordinator knows the member no more, or it has left by itself because it was not polled.
        KrafkaError::Broker {
            code: ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId | ErrorCode::FencedMemberEpoch,
            ..
        }
        | KrafkaError::IllegalState { .. } => LogError::Fenced { log: log.to_owned(), partition },
        KrafkaError::Broker { code: ErrorCode::RequestTimedOut, .. } => unknown(log, error),
        // Among them a member whose epoch has just changed: it is told the new one, and can commit again.
        KrafkaError::Broker { code, .. } if code.is_retriable() => unavailable(log, error),
        KrafkaError::Network(_) | KrafkaError::Timeout { .. } => unknown(log, error),
        _ => while_asking(log, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(code: ErrorCode) -> KrafkaError {
        KrafkaError::broker(code, "on demand")
    }

    #[test]
    fn not_stored_is_told_from_not_known() {
        let stored_maybe = [
            KrafkaError::delivery_timeout(true, "no answer"),
            KrafkaError::timeout("produce"),
            KrafkaError::closed("the producer was closed"),
        ];
        for error in stored_maybe {
            assert!(matches!(of_append("log", error), LogError::Unknown { .. }));
        }
        let error = of_append("log", KrafkaError::delivery_timeout(false, "never sent"));
        assert!(matches!(error, LogError::Unavailable { .. }));
        let error = of_append("log", broker(ErrorCode::MessageTooLarge));
        assert!(matches!(error, LogError::Refused { .. }));
    }

    #[test]
    fn a_commit_of_somebody_who_is_out_is_fenced_and_one_in_a_rebalance_may_be_repeated() {
        for error in [broker(ErrorCode::UnknownMemberId), KrafkaError::illegal_state("no valid generation")] {
            assert!(matches!(of_commit("log", 3, error), LogError::Fenced { partition: 3, .. }));
        }
        for code in [ErrorCode::StaleMemberEpoch, ErrorCode::RebalanceInProgress, ErrorCode::NotCoordinator] {
            assert!(matches!(of_commit("log", 0, broker(code)), LogError::Unavailable { .. }));
        }
        assert!(matches!(of_commit("log", 0, KrafkaError::timeout("commit")), LogError::Unknown { .. }));
    }

    #[test]
    fn who_may_not_is_refused() {
        for error in [broker(ErrorCode::TopicAuthorizationFailed), KrafkaError::auth("wrong password")] {
            assert!(matches!(while_asking("log", error), LogError::Refused { .. }));
        }
    }
}
