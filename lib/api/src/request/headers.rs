//! `Idempotency-Key` and `Prefer`.

use std::time::Duration;

use axum::http::HeaderMap;
use jobs::messages::serve_writes::IdempotencyKey;

use crate::problem::{Problem, kinds};

/// The longest time that an answer waits until a change can be read.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The key that makes a repeated request the same request (draft-ietf-httpapi-idempotency-key-header). The draft wants a string of
/// structured fields, in double quotes; most clients send it bare. Both are the same key.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let refuse = |why: String| Problem::new(kinds::BAD_HEADER).detail(why);
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refuse("there are two Idempotency-Keys".to_owned()));
    }
    let text = value.to_str().map_err(|_| refuse("the Idempotency-Key is not visible ASCII".to_owned()))?;
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    IdempotencyKey::new(bare).map(Some).map_err(|error| refuse(error.to_string()))
}

/// How long to wait until a change can be read: `Prefer: wait=N` (RFC 7240), N in seconds, at most ten. What does not read is no
/// preference, and no error: that is what the header is for.
pub(crate) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let preferences = values.flat_map(|value| value.split(','));
    // Parameters of a preference stand behind a semicolon; `wait` has none. The first of two counts.
    let named = preferences.filter_map(|preference| preference.split(';').next()?.split_once('='));
    let mut waits = named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("wait"));
    let seconds = waits.next()?.1.trim().trim_matches('"').parse().ok()?;
    Some(Duration::from_secs(seconds).min(WAIT_MAX)).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let name = axum::http::HeaderName::from_static(name);
        values.iter().map(|value| (name.clone(), value.parse().expect("a header"))).collect()
    }

    #[test]
    fn a_key_is_the_same_with_and_without_quotes() {
        let key = |values| idempotency_key(&headers("idempotency-key", values));
        let bare = key(&["7f3a"]).expect("a key");
        assert!(bare.is_some() && bare == key(&["\"7f3a\""]).expect("a key"));
        assert!(key(&[]).expect("no key").is_none());
        for bad in [&[""][..], &["\"\""], &["a b"], &["a", "a"]] {
            assert_eq!(key(bad).expect_err("refused").kind(), kinds::BAD_HEADER, "{bad:?}");
        }
    }

    #[test]
    fn a_preference_to_wait_reads_as_the_rfc_writes_it() {
        let seconds = |values| wait(&headers("prefer", values)).map(|wait| wait.as_secs());
        assert_eq!(seconds(&["wait=2"]), Some(2));
        assert_eq!(seconds(&["respond-async, Wait = \"3\"; x=1"]), Some(3));
        assert_eq!(seconds(&["return=minimal", "wait=4", "wait=5"]), Some(4));
        assert_eq!(seconds(&["wait=99"]), Some(10));
        for none in [&["wait=0"][..], &["wait"], &["wait=-1"], &["wait=1.5"], &["wait=99999999999999999999"], &[]] {
            assert_eq!(seconds(none), None, "{none:?}");
        }
    }
}
