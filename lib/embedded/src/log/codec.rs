//! A record in bytes: a version, the instant in milliseconds since 1970 (8 bytes), the number of headers (4), then key and, of each
//! header, name and value, each behind its length (4), then the value up to the end. Numbers have their most significant byte first.
//!
//! A reader that does not know a version says so instead of guessing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use worker::log::LogRecord;

const VERSION: u8 = 1;

/// Writes a record over what `bytes` holds. Its parts are shorter than 4 GiB.
pub(super) fn encode(record: &LogRecord, appended_at: SystemTime, bytes: &mut Vec<u8>) {
    let since = appended_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    bytes.clear();
    bytes.push(VERSION);
    bytes.extend(u64::try_from(since.as_millis()).unwrap_or(u64::MAX).to_be_bytes());
    bytes.extend(length(record.headers.len()));
    put(bytes, &record.key);
    for (name, value) in &record.headers {
        put(bytes, name.as_bytes());
        put(bytes, value);
    }
    bytes.extend(&record.value);
}

/// Reads a record back, with its instant; says what is wrong with it if it does not read.
pub(super) fn decode(mut bytes: &[u8]) -> Result<(SystemTime, LogRecord), String> {
    match bytes.split_off_first() {
        Some(&VERSION) => {}
        Some(version) => return Err(format!("written in version {version}, this program reads version {VERSION}")),
        None => return Err("it is empty".to_owned()),
    }
    let since = Duration::from_millis(u64::from_be_bytes(array(&mut bytes)?));
    let headers = u32::from_be_bytes(array(&mut bytes)?);
    let key = take(&mut bytes)?.to_vec();
    let header = |_| {
        let name = std::str::from_utf8(take(&mut bytes)?).map_err(|e| format!("a header's name: {e}"))?.to_owned();
        Ok((name, take(&mut bytes)?.to_vec()))
    };
    let headers = (0..headers).map(header).collect::<Result<_, String>>()?;
    let appended_at = UNIX_EPOCH.checked_add(since).ok_or("its instant is none")?;
    Ok((appended_at, LogRecord { key, headers, value: bytes.to_vec() }))
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend(length(part.len()));
    bytes.extend(part);
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], String> {
    let (array, rest) = bytes.split_first_chunk().ok_or("it ends too early")?;
    *bytes = rest;
    Ok(*array)
}

fn take<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let length = u32::from_be_bytes(array(bytes)?) as usize;
    let (part, rest) = bytes.split_at_checked(length).ok_or("it ends too early")?;
    *bytes = rest;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_and_other_bytes_are_refused() {
        let at = UNIX_EPOCH + Duration::from_millis(1_790_000_000_123);
        let full = LogRecord {
            key: b"17".to_vec(),
            headers: vec![
                ("ce_id".to_owned(), b"x".to_vec()),
                ("ce_id".to_owned(), vec![]),
                (String::new(), vec![0, 255]),
            ],
            value: vec![7; 1_000],
        };
        let mut bytes = Vec::new();
        for record in [LogRecord::default(), full] {
            encode(&record, at, &mut bytes);
            assert_eq!(decode(&bytes), Ok((at, record)));
        }
        for cut in 0..bytes.len() - 1_000 {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..1_000 {
            let mut damaged = bytes.clone();
            damaged[random.usize(..60)] = random.u8(..);
            // Whatever it answers, it does so.
            let _ = decode(&damaged);
        }
        assert!(decode(&[2, 0]).is_err());
    }
}
