//! A JWK Set (RFC 7517, RFC 8037) as keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::signature::Ed25519KeyPair;
use serde::Deserialize;

/// Each token without a key id is tried against all keys of its algorithm, so there are few.
pub(super) const KEYS_MAX: usize = 16;
/// HS256 wants a key at least as long as its output (RFC 7518, section 3.2).
pub(super) const SECRET_MIN_BYTES: usize = 32;
const ED25519_BYTES: usize = 32;

/// Text that is no JWK Set that tokens can be checked with. Never shows key material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKeys {
    /// Not the JSON of a JWK Set.
    #[error("not a JWK Set (RFC 7517): see line {line}, column {column}")]
    NotJwks {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// A key of a type that is used here cannot be used.
    #[error("key {index} of the JWK Set cannot be used: {why}")]
    NotAKey {
        /// Which, counted from 1.
        index: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No key is left.
    #[error("the JWK Set has no `oct` key for HS256 and no `OKP` key on Ed25519 for EdDSA")]
    NoKey,
    /// Too many keys.
    #[error("the JWK Set has more than {KEYS_MAX} keys that can be used")]
    TooMany,
    /// No key can be made.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// A key for one algorithm.
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) verifies: DecodingKey,
    /// What signs, where the set holds the secret part and lets it sign.
    pub(super) signs: Option<EncodingKey>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    k: Option<String>,
    x: Option<String>,
    d: Option<String>,
}

/// The keys that can be used.
pub(super) fn parse(text: &str) -> Result<Vec<Key>, NotKeys> {
    // The parser's own words would quote what it found.
    let set: JwkSet =
        serde_json::from_str(text).map_err(|error| NotKeys::NotJwks { line: error.line(), column: error.column() })?;
    let mut keys = Vec::new();
    for (index, jwk) in set.keys.iter().enumerate() {
        keys.extend(jwk.key().map_err(|why| NotKeys::NotAKey { index: index + 1, why })?);
        if keys.len() > KEYS_MAX {
            return Err(NotKeys::TooMany);
        }
    }
    if keys.is_empty() { Err(NotKeys::NoKey) } else { Ok(keys) }
}

impl Jwk {
    /// The key, or none when it is not for us.
    fn key(&self) -> Result<Option<Key>, &'static str> {
        let algorithm = match (self.kty.as_str(), self.crv.as_deref()) {
            ("oct", _) => Algorithm::HS256,
            ("OKP", Some("Ed25519")) => Algorithm::EdDSA,
            _ => return Ok(None),
        };
        let named = if algorithm == Algorithm::HS256 { "HS256" } else { "EdDSA" };
        let is_for_us = self.alg.as_deref().is_none_or(|alg| alg == named)
            && self.used_for.as_deref().is_none_or(|used_for| used_for == "sig")
            && (self.lets("verify") || self.lets("sign"));
        if !is_for_us {
            return Ok(None);
        }
        if algorithm == Algorithm::HS256 { self.secret() } else { self.pair() }.map(Some)
    }

    fn lets(&self, operation: &str) -> bool {
        self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == operation))
    }

    fn secret(&self) -> Result<Key, &'static str> {
        let secret = bytes(self.k.as_deref()).ok_or("`k` is missing or not base64url without padding")?;
        if secret.len() < SECRET_MIN_BYTES {
            return Err("a secret of HS256 has at least 32 bytes");
        }
        let signs = self.lets("sign").then(|| EncodingKey::from_secret(&secret));
        Ok(Key {
            id: self.kid.clone(),
            algorithm: Algorithm::HS256,
            verifies: DecodingKey::from_secret(&secret),
            signs,
        })
    }

    fn pair(&self) -> Result<Key, &'static str> {
        let public = bytes(self.x.as_deref()).filter(|x| x.len() == ED25519_BYTES);
        let public = public.ok_or("`x` is missing or not 32 bytes in base64url without padding")?;
        let signs = match &self.d {
            Some(_) if self.lets("sign") => Some(self.private(&public)?),
            _ => None,
        };
        let verifies = DecodingKey::from_ed_der(&public);
        Ok(Key { id: self.kid.clone(), algorithm: Algorithm::EdDSA, verifies, signs })
    }

    /// Seed and public key behind each other, as `ring_provider` takes them.
    fn private(&self, public: &[u8]) -> Result<EncodingKey, &'static str> {
        let mut both = bytes(self.d.as_deref()).ok_or("`d` is not base64url without padding")?;
        Ed25519KeyPair::from_seed_and_public_key(&both, public).map_err(|_| "`d` and `x` do not belong together")?;
        both.extend_from_slice(public);
        Ok(EncodingKey::from_ed_der(&both))
    }
}

fn bytes(base64url: Option<&str>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(base64url?).ok()
}
