use jsonwebtoken::crypto::{sign as sign_with, verify as verify_with};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::hmac;
use serde_json::{Value, json};

use super::*;
use chat::{AccountId, OrganizationId};

/// The pair of RFC 8037, appendix A.
const PRIVATE: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
/// The secret of RFC 7515, appendix A.1.
const SECRET: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const NOW_SECONDS: u64 = 1_800_000_000;

fn caller(is_admin: bool) -> Caller {
    Caller { account: AccountId::MAX, organization: OrganizationId::from_bits(42), is_admin }
}

fn keys(keys: Value) -> Keys {
    Keys::from_jwks(&json!({ "keys": keys }).to_string()).expect("keys")
}

fn secret() -> Value {
    json!({ "kty": "oct", "k": SECRET, "kid": "s" })
}

fn public() -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": PUBLIC, "kid": "p" })
}

fn private() -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": PUBLIC, "d": PRIVATE, "kid": "p" })
}

fn bytes(base64url: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(base64url).expect("base64url")
}

fn signed(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = format!("{header}.{claims}");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn claims() -> Value {
    json!({ "sub": "7", "org": "42", "exp": NOW_SECONDS + 60 })
}

/// What a token with these claims is worth, signed as it should be.
fn verdict(change: impl FnOnce(&mut Value)) -> Result<Caller, AuthError> {
    let mut claims = claims();
    change(&mut claims);
    keys(json!([secret()])).verify(&signed(&json!({ "alg": "HS256" }), &claims, &bytes(SECRET)), NOW)
}

#[test]
fn signatures_are_those_of_the_rfcs() {
    ring_provider::install();
    let message = b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let key = EncodingKey::from_secret(&bytes(SECRET));
    assert_eq!(sign_with(message, &key, Algorithm::HS256).expect("a signature"), signature);
    let key = DecodingKey::from_secret(&bytes(SECRET));
    assert_eq!(verify_with(signature, message, &key, Algorithm::HS256), Ok(true));

    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let key = EncodingKey::from_ed_der(&[bytes(PRIVATE), bytes(PUBLIC)].concat());
    assert_eq!(sign_with(message, &key, Algorithm::EdDSA).expect("a signature"), signature);
    let key = DecodingKey::from_ed_der(&bytes(PUBLIC));
    assert_eq!(verify_with(signature, message, &key, Algorithm::EdDSA), Ok(true));
    assert_eq!(verify_with(signature, b"another message", &key, Algorithm::EdDSA), Ok(false));
}

#[test]
fn what_is_signed_is_let_in_until_it_expires() {
    for key in [secret(), private()] {
        let keys = keys(json!([key])).expecting(Some("lanner".to_owned()), Some("us".to_owned()));
        for is_admin in [false, true] {
            let token = keys.sign(caller(is_admin), Duration::from_secs(60), NOW).expect("a token");
            assert_eq!(keys.verify(&token, NOW), Ok(caller(is_admin)));
            let leeway = u64::try_from(LEEWAY.as_millis()).expect("short");
            let last = NOW.plus_millis(60_000 + leeway - 1);
            assert_eq!(keys.verify(&token, last), Ok(caller(is_admin)));
            assert_eq!(keys.verify(&token, last.plus_millis(1)), Err(AuthError::Expired));
        }
    }
    assert_eq!(keys(json!([public()])).sign(caller(false), LEEWAY, NOW), Err(CannotSign));
}

#[test]
fn a_generated_set_signs_and_no_two_are_the_same() {
    let [one, other] = [(); 2].map(|()| Keys::generate().expect("random bytes"));
    assert_ne!(one, other);
    let [one, other] = [one, other].map(|text| Keys::from_jwks(&text).expect("keys"));
    let token = one.sign(caller(true), LEEWAY, NOW).expect("a token");
    assert_eq!(one.verify(&token, NOW), Ok(caller(true)));
    assert_eq!(other.verify(&token, NOW), Err(AuthError::Invalid));
}

#[test]
fn a_token_without_a_signature_is_no_token() {
    let keys = keys(json!([secret(), private()]));
    let [claims] = [claims()].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    for algorithm in ["none", "None", "HS512", "RS256", "ES256", ""] {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": algorithm }).to_string());
        for token in [format!("{header}.{claims}."), format!("{header}.{claims}"), format!("{header}.{claims}.AA")] {
            assert_eq!(keys.verify(&token, NOW), Err(AuthError::Invalid), "{algorithm}");
        }
    }
    for token in ["", ".", "..", "a.b.c", "....", "\u{1F600}"] {
        assert_eq!(keys.verify(token, NOW), Err(AuthError::Invalid), "{token:?}");
    }
}

#[test]
fn a_public_key_is_never_a_secret() {
    // Who knows the public key, as all do, signs with it as if it were a secret of HS256.
    let header = json!({ "alg": "HS256", "kid": "p" });
    let token = signed(&header, &claims(), &bytes(PUBLIC));
    assert_eq!(keys(json!([public()])).verify(&token, NOW), Err(AuthError::Invalid));
    assert_eq!(keys(json!([public(), secret()])).verify(&token, NOW), Err(AuthError::Invalid));
    // Where the same bytes are a secret, too, it is that key's token: the attack above was a whole one.
    let foolish = json!({ "kty": "oct", "k": PUBLIC, "kid": "p" });
    assert!(keys(json!([public(), foolish])).verify(&token, NOW).is_ok());
}

#[test]
fn a_changed_token_is_forged() {
    let keys = keys(json!([private()]));
    let token = keys.sign(caller(false), LEEWAY, NOW).expect("a token");
    for place in 0..token.len() {
        let mut forged = token.clone().into_bytes();
        forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).expect("ASCII");
        assert_eq!(keys.verify(&forged, NOW), Err(AuthError::Invalid), "byte {place}");
    }
}

#[test]
fn the_key_id_chooses_the_key_and_without_one_all_are_tried() {
    let other = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode([7; 32]), "kid": "other" });
    let keys = keys(json!([other, secret(), public()]));
    let verdict = |header| keys.verify(&signed(&header, &claims(), &bytes(SECRET)), NOW).is_ok();
    assert!(verdict(json!({ "alg": "HS256", "kid": "s" })));
    assert!(verdict(json!({ "alg": "HS256" })));
    assert!(!verdict(json!({ "alg": "HS256", "kid": "other" })));
    assert!(!verdict(json!({ "alg": "HS256", "kid": "unknown" })));
    assert!(!verdict(json!({ "alg": "HS256", "kid": "s", "crit": ["b64"], "b64": false })));
}

#[test]
fn times_are_checked_with_a_leeway() {
    assert!(verdict(|claims| claims["exp"] = json!(NOW_SECONDS - 29)).is_ok());
    assert!(verdict(|claims| claims["exp"] = json!(NOW_SECONDS as f64 - 29.5)).is_ok());
    assert_eq!(verdict(|claims| claims["exp"] = json!(NOW_SECONDS - 30)), Err(AuthError::Expired));
    assert_eq!(verdict(|claims| claims["exp"] = json!(-1e300)), Err(AuthError::Expired));
    assert!(verdict(|claims| claims["nbf"] = json!(NOW_SECONDS + 30)).is_ok());
    assert_eq!(verdict(|claims| claims["nbf"] = json!(NOW_SECONDS + 31)), Err(AuthError::Invalid));
}

#[test]
fn claims_that_are_missing_or_no_ids_are_refused() {
    for name in ["sub", "org", "exp"] {
        let missing = verdict(|claims| drop(claims.as_object_mut().and_then(|claims| claims.remove(name))));
        assert_eq!(missing, Err(AuthError::Invalid), "{name}");
    }
    for name in ["sub", "org"] {
        assert!(verdict(|claims| claims[name] = json!("9223372036854775807")).is_ok(), "{name}");
        for value in [json!("9223372036854775808"), json!("-1"), json!(""), json!(7), json!(null), json!("7 ")] {
            assert_eq!(verdict(|claims| claims[name] = value.clone()), Err(AuthError::Invalid), "{name} {value}");
        }
    }
    for value in [json!("1"), json!(null), json!({})] {
        assert_eq!(verdict(|claims| claims["exp"] = value.clone()), Err(AuthError::Invalid), "{value}");
    }
}

#[test]
fn the_scope_of_administrators_is_one_whole_word() {
    let is_admin = |scope: &str| verdict(|claims| claims["scope"] = json!(scope)).expect("let in").is_admin;
    assert!(is_admin("rooms:admin") && is_admin("profile rooms:admin email"));
    assert!(!is_admin("") && !is_admin("rooms:administrate") && !is_admin("xrooms:admin"));
}

#[test]
fn a_token_has_at_most_8_kib() {
    let size = |bytes: usize| verdict(|claims| claims["padding"] = json!("x".repeat(bytes)));
    assert!(size(5_900).is_ok());
    assert_eq!(size(6_200), Err(AuthError::Invalid));
}

#[test]
fn audience_and_issuer_are_checked_where_they_are_expected() {
    let verdict = |audience: Option<&str>, issuer: Option<&str>, extra: Value| {
        let mut claims = claims();
        claims.as_object_mut().expect("claims").append(extra.clone().as_object_mut().expect("more"));
        let keys = keys(json!([secret()])).expecting(audience.map(str::to_owned), issuer.map(str::to_owned));
        keys.verify(&signed(&json!({ "alg": "HS256" }), &claims, &bytes(SECRET)), NOW).is_ok()
    };
    assert!(verdict(None, None, json!({ "aud": "any", "iss": "any" })));
    assert!(verdict(Some("us"), None, json!({ "aud": "us" })));
    assert!(verdict(Some("us"), None, json!({ "aud": ["them", "us"] })));
    assert!(!verdict(Some("us"), None, json!({ "aud": "them" })));
    assert!(!verdict(Some("us"), None, json!({})));
    assert!(verdict(None, Some("me"), json!({ "iss": "me" })));
    assert!(!verdict(None, Some("me"), json!({ "iss": "you" })));
    assert!(!verdict(None, Some("me"), json!({})));
}

#[test]
fn a_set_is_refused_without_showing_what_is_in_it() {
    let refused = |text: &str| Keys::from_jwks(text).expect_err("refused");
    let not_a_key = |key: Value| {
        let error = refused(&json!({ "keys": [key] }).to_string());
        assert!(matches!(error, NotKeys::NotAKey { index: 1, .. }), "{error}");
        error.to_string()
    };
    let short = URL_SAFE_NO_PAD.encode([7; 31]);
    let shown = [
        not_a_key(json!({ "kty": "oct", "k": short })),
        not_a_key(json!({ "kty": "oct", "k": "not base64url: hunter2" })),
        not_a_key(json!({ "kty": "oct" })),
        not_a_key(json!({ "kty": "OKP", "crv": "Ed25519", "x": "hunter2" })),
        not_a_key(json!({ "kty": "OKP", "crv": "Ed25519", "x": PUBLIC, "d": URL_SAFE_NO_PAD.encode([7; 32]) })),
        refused(r#"{ "keys": [{ "kty": "oct", "k": 1, "kid": "hunter2" }] }"#).to_string(),
        refused(r#"{ "keys": "hunter2" }"#).to_string(),
        refused(r#"{ "keys": [{ "kty": { "hunter2": 1 } }] }"#).to_string(),
        format!("{:?}", keys(json!([secret()]))),
    ];
    for text in shown {
        assert!(!text.contains("hunter2") && !text.contains(&short) && !text.contains(SECRET), "{text}");
    }
    assert_eq!(refused(r#"{ "keys": [] }"#), NotKeys::NoKey);
    assert_eq!(refused(&json!({ "keys": vec![secret(); 17] }).to_string()), NotKeys::TooMany);
}

#[test]
fn keys_for_something_else_are_passed_over() {
    let others = json!([
        { "kty": "RSA", "n": "AQAB", "e": "AQAB" },
        { "kty": "OKP", "crv": "X25519", "x": PUBLIC },
        { "kty": "oct", "k": SECRET, "use": "enc" },
        { "kty": "oct", "k": SECRET, "alg": "HS512" },
        { "kty": "oct", "k": SECRET, "key_ops": ["encrypt"] },
    ]);
    assert_eq!(Keys::from_jwks(&json!({ "keys": others }).to_string()).expect_err("none"), NotKeys::NoKey);
    let verifies_only = keys(json!([{ "kty": "oct", "k": SECRET, "key_ops": ["verify"] }]));
    assert_eq!(verifies_only.sign(caller(false), LEEWAY, NOW), Err(CannotSign));
}
