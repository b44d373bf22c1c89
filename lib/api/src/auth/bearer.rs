//! The caller of a request, from its `Authorization` header.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use chat::Timestamp;
use jobs::messages::Caller;

use super::AuthError;
use crate::front::Front;
use crate::problem::Problem;

/// Who asks. Stands first among what a handler takes, so that a stranger's body is not even read.
pub(crate) struct Bearer(pub(crate) Caller);

impl<J: ?Sized + Send + Sync> FromRequestParts<Front<J>> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Front<J>) -> Result<Self, Problem> {
        let token = token(&parts.headers)?;
        Ok(Self(front.keys.verify(token, Timestamp::now())?))
    }
}

fn token(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::Missing)?;
    if values.next().is_some() {
        return Err(AuthError::Invalid);
    }
    let (scheme, token) = value.to_str().map_err(|_| AuthError::Invalid)?.split_once(' ').ok_or(AuthError::Missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim_start_matches(' ')) } else { Err(AuthError::Missing) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, value.parse().expect("a header"))).collect()
    }

    #[test]
    fn one_header_with_the_bearer_scheme_carries_the_token() {
        assert_eq!(token(&headers(&["Bearer a.b.c"])), Ok("a.b.c"));
        assert_eq!(token(&headers(&["bEaReR  a.b.c"])), Ok("a.b.c"));
        assert_eq!(token(&headers(&[])), Err(AuthError::Missing));
        assert_eq!(token(&headers(&["Basic dTpw"])), Err(AuthError::Missing));
        assert_eq!(token(&headers(&["Bearer"])), Err(AuthError::Missing));
        assert_eq!(token(&headers(&["Bearer a.b.c", "Bearer a.b.c"])), Err(AuthError::Invalid));
    }
}
