//! Instants as files write them.

use chat::Timestamp;
use chrono::{DateTime, NaiveDateTime};

use super::TimeFormat;

/// Reads an instant; parts of a millisecond are cut off. `None` for what is none, or is before 1970 or after 9999.
pub(super) fn parse(format: TimeFormat, text: &str) -> Option<Timestamp> {
    let ms = match format {
        TimeFormat::Iso => iso(text)?,
        TimeFormat::UnixSeconds => seconds(text)?,
        TimeFormat::UnixMilliseconds => whole(text)?,
    };
    (ms <= Timestamp::MAX.as_millis()).then(|| Timestamp::from_millis(ms))
}

/// RFC 3339, also with a blank for the T, or without an offset, which is UTC then.
fn iso(text: &str) -> Option<u64> {
    let ms = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => time.timestamp_millis(),
        Err(_) => {
            let format = if text.contains('T') { "%Y-%m-%dT%H:%M:%S%.f" } else { "%Y-%m-%d %H:%M:%S%.f" };
            NaiveDateTime::parse_from_str(text, format).ok()?.and_utc().timestamp_millis()
        }
    };
    u64::try_from(ms).ok()
}

/// Digits, perhaps with a fraction, as decimal text: binary fractions would not keep the millisecond.
fn seconds(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    whole(seconds)?.checked_mul(1_000)?.checked_add(thousandths.parse().ok()?)
}

fn whole(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_to_the_millisecond() {
        for (format, text, expected) in [
            (TimeFormat::Iso, "2017-05-11T15:46:08.512661", "2017-05-11T15:46:08.512Z"),
            (TimeFormat::Iso, "2017-05-11 15:46:08", "2017-05-11T15:46:08Z"),
            (TimeFormat::Iso, "2017-05-11T15:46:08.9999Z", "2017-05-11T15:46:08.999Z"),
            (TimeFormat::Iso, "2017-05-11T15:46:08+02:00", "2017-05-11T13:46:08Z"),
            (TimeFormat::UnixSeconds, "1494517568", "2017-05-11T15:46:08Z"),
            (TimeFormat::UnixSeconds, "1494517568.5", "2017-05-11T15:46:08.500Z"),
            (TimeFormat::UnixSeconds, "1494517568.512661", "2017-05-11T15:46:08.512Z"),
            (TimeFormat::UnixMilliseconds, "1494517568512", "2017-05-11T15:46:08.512Z"),
        ] {
            assert_eq!(parse(format, text).map(|time| time.to_string()).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_is_none() {
        for (format, texts) in [
            (TimeFormat::Iso, ["", "yesterday", "2017-05-11", "2017-13-01T00:00:00", "1969-12-31T23:59:59"]),
            (TimeFormat::UnixSeconds, ["", "1.", "-1", "1e9", "99999999999999999999"]),
            (TimeFormat::UnixMilliseconds, ["", "1.5", "-1", "x", "253402300800000"]),
        ] {
            for text in texts {
                assert_eq!(parse(format, text), None, "{text:?}");
            }
        }
    }
}
