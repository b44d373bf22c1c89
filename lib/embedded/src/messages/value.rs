//! A message in bytes. A reader that does not know a version says so instead of guessing.
//!
//! | Version | What follows |
//! |---|---|
//! | 1, what an import brings | a kind; the author (8 bytes) where the kind says so; the body in UTF-8 up to the end |
//! | 2, all else | flags; what they name, 8 bytes each; unless `DELETED` is set, the body in UTF-8 up to the end |
//!
//! In the order of `POSITION`, `AUTHOR`, `ORGANIZATION`, `INSTANT`. Numbers have their least significant byte first. An instant, in milliseconds, is that of the last edit or of the deletion.

use chat::message::{Kept, MessageState, Posted};
use chat::{AccountId, Content, OrganizationId, Position, Timestamp};

const IMPORTED: u8 = 1;
const TOMBSTONE: u8 = 0;
const BODY: u8 = 1;
const AUTHOR_AND_BODY: u8 = 2;

const FLAGGED: u8 = 2;
const POSITION: u8 = 1;
const AUTHOR: u8 = 1 << 1;
const ORGANIZATION: u8 = 1 << 2;
const INSTANT: u8 = 1 << 3;
const DELETED: u8 = 1 << 4;
const FLAGS: u8 = POSITION | AUTHOR | ORGANIZATION | INSTANT | DELETED;

/// Writes what an import brings over what `bytes` holds; without content it is a tombstone.
pub(super) fn encode_imported(content: Option<&Content>, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.push(IMPORTED);
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

/// Writes a state over what `bytes` holds.
pub(super) fn encode(state: &MessageState, bytes: &mut Vec<u8>) {
    let (kept, body, instant, deleted) = match &state.kept {
        Kept::Live(posted) => (Some(posted), posted.body.as_bytes(), posted.edited_at, 0),
        Kept::Deleted { at } => (None, &[][..], *at, DELETED),
    };
    let numbers = [
        (POSITION, state.position.map(Position::get)),
        (AUTHOR, kept.and_then(|posted| posted.author).map(AccountId::get)),
        (ORGANIZATION, kept.and_then(|posted| posted.organization).map(OrganizationId::get)),
        (INSTANT, instant.map(Timestamp::as_millis)),
    ];
    bytes.clear();
    let set = |flags: u8, (flag, number): &(u8, Option<u64>)| if number.is_some() { flags | *flag } else { flags };
    bytes.extend([FLAGGED, numbers.iter().fold(deleted, set)]);
    numbers.iter().filter_map(|(_, number)| *number).for_each(|number| bytes.extend(number.to_le_bytes()));
    bytes.extend(body);
}

/// Whether these bytes say that the message was deleted.
pub(super) fn is_tombstone(bytes: &[u8]) -> bool {
    match bytes {
        [FLAGGED, flags, ..] => flags & DELETED != 0,
        bytes => bytes == [IMPORTED, TOMBSTONE],
    }
}

/// Whether these bytes have a position: what was imported does not replace them.
pub(super) fn has_position(bytes: &[u8]) -> bool {
    matches!(bytes, [FLAGGED, flags, ..] if flags & POSITION != 0)
}

/// Reads a message back; says what is wrong with it if it does not read.
pub(super) fn decode(bytes: &[u8]) -> Result<MessageState, String> {
    match bytes {
        [IMPORTED, TOMBSTONE] => Ok(MessageState::imported(None)),
        [IMPORTED, BODY, body @ ..] => Ok(imported(None, text(body)?)),
        [IMPORTED, AUTHOR_AND_BODY, rest @ ..] => {
            let mut rest = rest;
            let author = AccountId::new(number(&mut rest)?).map_err(|e| format!("its author: {e}"))?;
            Ok(imported(Some(author), text(rest)?))
        }
        [FLAGGED, flags, rest @ ..] if flags & !FLAGS == 0 => flagged(*flags, rest),
        [version, ..] if ![IMPORTED, FLAGGED].contains(version) => {
            Err(format!("written in version {version}, this program reads versions {IMPORTED} and {FLAGGED}"))
        }
        _ => Err("it is damaged".to_owned()),
    }
}

fn imported(author: Option<AccountId>, body: String) -> MessageState {
    MessageState::imported(Some(Content::imported(author, body)))
}

fn flagged(flags: u8, mut rest: &[u8]) -> Result<MessageState, String> {
    let mut next = |flag| if flags & flag == 0 { Ok(None) } else { number(&mut rest).map(Some) };
    let position = next(POSITION)?.map(Position::from_bits);
    let author = next(AUTHOR)?.map(AccountId::new).transpose().map_err(|e| format!("its author: {e}"))?;
    let organization =
        next(ORGANIZATION)?.map(OrganizationId::new).transpose().map_err(|e| format!("its organization: {e}"))?;
    let instant = next(INSTANT)?.map(Timestamp::from_millis);
    let kept = if flags & DELETED == 0 {
        Kept::Live(Posted { author, organization, body: text(rest)?, edited_at: instant })
    } else if rest.is_empty() {
        Kept::Deleted { at: instant }
    } else {
        return Err("it was deleted and has a body".to_owned());
    };
    Ok(MessageState { position, kept })
}

/// Takes eight bytes.
fn number(rest: &mut &[u8]) -> Result<u64, String> {
    let (number, after) = rest.split_first_chunk().ok_or("it ends within a number")?;
    *rest = after;
    Ok(u64::from_le_bytes(*number))
}

fn text(body: &[u8]) -> Result<String, String> {
    std::str::from_utf8(body).map(str::to_owned).map_err(|e| format!("its body is not UTF-8: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_imported_reads_back_as_it_was_ever_written() {
        let content = |author: Option<u64>, body: &str| {
            Some(Content::imported(author.map(AccountId::from_bits), body.to_owned()))
        };
        // The bytes stand in data directories: they are given, not made.
        let author = [&[1, 2][..], &[0xff; 7], &[0x7f], "a\n\u{1f389}\0".as_bytes()].concat();
        for (message, written) in [
            (None, vec![1, 0]),
            (content(None, ""), vec![1, 1]),
            (content(Some(0), "x"), vec![1, 2, 0, 0, 0, 0, 0, 0, 0, 0, b'x']),
            (content(Some(i64::MAX as u64), "a\n\u{1f389}\0"), author),
        ] {
            let mut bytes = vec![9];
            encode_imported(message.as_ref(), &mut bytes);
            assert_eq!(bytes, written);
            assert_eq!((is_tombstone(&bytes), has_position(&bytes)), (message.is_none(), false));
            assert_eq!(decode(&bytes), Ok(MessageState::imported(message)));
        }
    }

    #[test]
    fn states_read_back_with_whatever_is_known_of_them() {
        for known in 0..FLAGS + 1 {
            let has = |flag: u8| known & flag != 0;
            let instant = has(INSTANT).then_some(Timestamp::from_millis(1_795_305_600_123));
            let posted = Posted {
                author: has(AUTHOR).then_some(AccountId::MAX),
                organization: has(ORGANIZATION).then_some(OrganizationId::from_bits(3)),
                body: "a\n\u{1f389}\0".to_owned(),
                edited_at: instant,
            };
            let kept = if has(DELETED) { Kept::Deleted { at: instant } } else { Kept::Live(posted) };
            let state = MessageState { position: has(POSITION).then_some(Position::from_bits(u64::MAX)), kept };
            let mut bytes = vec![9];
            encode(&state, &mut bytes);
            assert_eq!((is_tombstone(&bytes), has_position(&bytes)), (has(DELETED), has(POSITION)));
            assert_eq!(decode(&bytes), Ok(state));
            assert!(!has(DELETED) || bytes.len() <= 18, "nothing is kept of what was deleted: {bytes:?}");
        }
    }

    #[test]
    fn a_state_has_the_bytes_that_stand_in_data_directories() {
        let posted = Posted {
            author: Some(AccountId::from_bits(7)),
            organization: Some(OrganizationId::from_bits(3)),
            body: "x".to_owned(),
            edited_at: Some(Timestamp::from_millis(256)),
        };
        let state = MessageState { position: Some(Position::from_bits(5)), kept: Kept::Live(posted) };
        let mut bytes = Vec::new();
        encode(&state, &mut bytes);
        let number = |low: u8, high: u8| [low, high, 0, 0, 0, 0, 0, 0];
        assert_eq!(bytes, [&[2, 15][..], &number(5, 0), &number(7, 0), &number(3, 0), &number(0, 1), b"x"].concat());
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [
            &[][..],
            &[1],
            &[2],
            &[0, 0],
            &[3, 0],
            &[1, 3],
            &[1, 0, 0],
            &[1, 2, 1, 2, 3],
            &[1, 1, 0xff],
            &[1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0xff],
            &[2, 32],
            &[2, POSITION, 1, 2, 3],
            &[2, AUTHOR, 0, 0, 0, 0, 0, 0, 0, 0xff],
            &[2, ORGANIZATION, 0, 0, 0, 0, 0, 0, 0, 0xff],
            &[2, DELETED, b'x'],
            &[2, 0, 0xff],
        ] {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
