//! What a token claims.

use std::time::Duration;

use chat::{AccountId, OrganizationId, Timestamp};
use jobs::messages::Caller;
use serde::{Deserialize, Serialize, Serializer};

use super::{AuthError, LEEWAY};

/// The scope that makes its bearer an administrator of the rooms that it is a member of.
const ADMIN: &str = "rooms:admin";

/// Claims as RFC 7519 names them, `scope` as RFC 8693 does. Instants are seconds since 1970, perhaps with a fraction.
#[derive(Serialize, Deserialize)]
pub(super) struct Claims {
    sub: AccountId,
    org: OrganizationId,
    #[serde(serialize_with = "whole")]
    exp: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_deserializing, serialize_with = "whole")]
    iat: f64,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
}

impl Claims {
    pub(super) fn new(
        caller: Caller,
        lives_for: Duration,
        now: Timestamp,
        aud: Option<String>,
        iss: Option<String>,
    ) -> Self {
        let iat = seconds(now).floor();
        let exp = iat + lives_for.as_secs() as f64;
        let scope = caller.is_admin.then(|| ADMIN.to_owned());
        Self { sub: caller.account, org: caller.organization, exp, nbf: None, scope, iat, aud, iss }
    }

    /// Who that is, if the token holds `now`.
    pub(super) fn caller(self, now: Timestamp) -> Result<Caller, AuthError> {
        let (now, leeway) = (seconds(now), LEEWAY.as_secs_f64());
        if now >= self.exp + leeway {
            return Err(AuthError::Expired);
        }
        if self.nbf.is_some_and(|from| now + leeway < from) {
            return Err(AuthError::Invalid);
        }
        let is_admin = self.scope.is_some_and(|scope| scope.split(' ').any(|word| word == ADMIN));
        Ok(Caller { account: self.sub, organization: self.org, is_admin })
    }
}

/// Ours have no fraction, and not every reader takes one.
fn whole<S: Serializer>(seconds: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(*seconds as u64)
}

fn seconds(time: Timestamp) -> f64 {
    time.as_millis() as f64 / 1000.0
}
