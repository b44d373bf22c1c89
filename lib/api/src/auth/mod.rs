//! Who asks: bearer tokens (RFC 6750) that are JWTs (RFC 7519), checked against a JWK Set (RFC 7517).
//!
//! HS256 and EdDSA (Ed25519), nothing else. A key says which algorithm it is for; what a token says only chooses among the keys.

mod bearer;
mod claims;
mod jwks;
mod ring_provider;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chat::Timestamp;
use jobs::messages::Caller;
use jsonwebtoken::{Header, Validation, decode, decode_header, encode};
use ring::rand::{SecureRandom as _, SystemRandom};

pub(crate) use bearer::Bearer;
use claims::Claims;
use jwks::Key;
pub use jwks::NotKeys;

/// The longest token, in bytes. A claim set of ours has less than 300.
pub const TOKEN_MAX_BYTES: usize = 8 << 10;
/// By how much the clocks of who issues tokens and who checks them may differ.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// Why a request is not let in. It tells no more on purpose: details help who guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no bearer token.
    #[error("there is no bearer token")]
    Missing,
    /// The token is genuine, and its time is over.
    #[error("the token has expired")]
    Expired,
    /// Anything else.
    #[error("the token is not valid")]
    Invalid,
}

/// There is no key that can sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key can sign: the JWK Set holds public keys only")]
pub struct CannotSign;

/// The keys by which tokens are checked, and perhaps signed.
pub struct Keys {
    keys: Vec<Key>,
    audience: Option<String>,
    issuer: Option<String>,
}

impl Keys {
    /// From a JWK Set, in JSON: `oct` keys of at least 32 bytes (HS256), `OKP` keys on Ed25519 (EdDSA). Keys of other types, for other
    /// algorithms or for encryption are passed over, because sets are shared with others.
    ///
    /// # Errors
    ///
    /// [`NotKeys`], which never shows key material.
    pub fn from_jwks(text: &str) -> Result<Self, NotKeys> {
        ring_provider::install();
        Ok(Self { keys: jwks::parse(text)?, audience: None, issuer: None })
    }

    /// A new JWK Set with one random `oct` key, for a first start.
    ///
    /// # Errors
    ///
    /// [`NotKeys::NoRandomness`] when the system has none to give.
    pub fn generate() -> Result<String, NotKeys> {
        let (mut secret, mut id) = ([0; jwks::SECRET_MIN_BYTES], [0; 6]);
        let random = SystemRandom::new();
        random.fill(&mut secret).and_then(|()| random.fill(&mut id)).map_err(|_| NotKeys::NoRandomness)?;
        let [secret, id] = [URL_SAFE_NO_PAD.encode(secret), URL_SAFE_NO_PAD.encode(id)];
        let key = serde_json::json!({ "kty": "oct", "kid": id, "use": "sig", "alg": "HS256", "k": secret });
        Ok(format!("{:#}\n", serde_json::json!({ "keys": [key] })))
    }

    /// From now on tokens must be for `audience` (`aud`) and from `issuer` (`iss`), where given. Signed tokens carry both.
    pub fn expecting(mut self, audience: Option<String>, issuer: Option<String>) -> Self {
        (self.audience, self.issuer) = (audience, issuer);
        self
    }

    /// Who asks, by their token.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Caller, AuthError> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err(AuthError::Invalid);
        }
        let header = decode_header(token).map_err(|_| AuthError::Invalid)?;
        // What must be understood is not (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return Err(AuthError::Invalid);
        }
        let asked_for = |key: &&Key| key.algorithm == header.alg && (header.kid.is_none() || key.id == header.kid);
        let mut claims = self.keys.iter().filter(asked_for).filter_map(|key| self.claims(token, key));
        claims.next().ok_or(AuthError::Invalid)?.caller(now)
    }

    /// The claims, when the key says that the token is genuine and it is meant for us.
    fn claims(&self, token: &str, key: &Key) -> Option<Claims> {
        let mut validation = Validation::new(key.algorithm);
        // Ours to check, against a clock that tests can set.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        validation.required_spec_claims.clear();
        validation.validate_aud = self.audience.is_some();
        for (name, expected) in [("aud", &self.audience), ("iss", &self.issuer)] {
            if expected.is_some() {
                validation.required_spec_claims.insert(name.to_owned());
            }
        }
        validation.aud = self.audience.clone().map(|name| [name].into());
        validation.iss = self.issuer.clone().map(|name| [name].into());
        decode(token, &key.verifies, &validation).ok().map(|token| token.claims)
    }

    /// A token for `caller` that `lives_for` so long from `now` on, signed by the first key that can.
    ///
    /// # Errors
    ///
    /// [`CannotSign`] when all keys are public ones.
    pub fn sign(&self, caller: Caller, lives_for: Duration, now: Timestamp) -> Result<String, CannotSign> {
        let signing = self.keys.iter().find_map(|key| key.signs.as_ref().map(|signs| (key, signs)));
        let (key, signs) = signing.ok_or(CannotSign)?;
        let header = Header { kid: key.id.clone(), ..Header::new(key.algorithm) };
        let claims = Claims::new(caller, lives_for, now, self.audience.clone(), self.issuer.clone());
        encode(&header, &claims, signs).map_err(|_| CannotSign)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
