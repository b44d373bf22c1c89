//! A message in bytes: a version, what follows, then the author (8 bytes, least significant first) where there is one, then
//! the body in UTF-8 up to the end.
//!
//! A reader that does not know a version says so instead of guessing.

use chat::{AccountId, Content};

const VERSION: u8 = 1;
const TOMBSTONE: u8 = 0;
const BODY: u8 = 1;
const AUTHOR_AND_BODY: u8 = 2;

/// Writes a message over what `bytes` holds; without content it is a tombstone.
pub(super) fn encode(content: Option<&Content>, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.push(VERSION);
    let Some(content) = content else {
        bytes.push(TOMBSTONE);
        return;
    };
    match content.author {
        Some(author) => {
            bytes.push(AUTHOR_AND_BODY);
            bytes.extend(author.get().to_le_bytes());
        }
        None => bytes.push(BODY),
    }
    bytes.extend(content.body.as_bytes());
}

/// Whether these bytes say that the message was deleted.
pub(super) fn is_tombstone(bytes: &[u8]) -> bool {
    bytes == [VERSION, TOMBSTONE]
}

/// Reads a message back; says what is wrong with it if it does not read.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<Content>, String> {
    let (author, body) = match bytes {
        [VERSION, TOMBSTONE] => return Ok(None),
        [VERSION, BODY, body @ ..] => (None, body),
        [VERSION, AUTHOR_AND_BODY, rest @ ..] => {
            let (author, body) = rest.split_first_chunk().ok_or("it ends within its author")?;
            let author = AccountId::new(u64::from_le_bytes(*author)).map_err(|e| format!("its author: {e}"))?;
            (Some(author), body)
        }
        [version, ..] if *version != VERSION => {
            return Err(format!("written in version {version}, this program reads version {VERSION}"));
        }
        _ => return Err("it is damaged".to_owned()),
    };
    let body = std::str::from_utf8(body).map_err(|e| format!("its body is not UTF-8: {e}"))?;
    Ok(Some(Content { author, body: body.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back_and_other_bytes_are_refused() {
        let content = |author: Option<u64>, body: &str| {
            Some(Content { author: author.map(AccountId::from_bits), body: body.to_owned() })
        };
        let mut bytes = Vec::new();
        for message in
            [None, content(None, ""), content(Some(0), "x"), content(Some(i64::MAX as u64), "a\n\u{1f389}\0")]
        {
            encode(message.as_ref(), &mut bytes);
            assert_eq!(decode(&bytes), Ok(message.clone()));
            assert_eq!(is_tombstone(&bytes), message.is_none());
        }
        for bytes in [
            &[][..],
            &[1],
            &[2, 0],
            &[1, 3],
            &[1, 0, 0],
            &[1, 2, 1, 2, 3],
            &[1, 1, 0xff],
            &[1, 2, 0, 0, 0, 0, 0, 0, 0, 0xff],
        ] {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
