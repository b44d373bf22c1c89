//! Bodies as SQS takes them: not empty, and only characters that XML 1.0 knows. Others travel as base64, with a mark.

use std::borrow::Cow;

use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::builders::SendMessageBatchRequestEntryBuilder;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, SendMessageBatchRequestEntry};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The message attribute that marks an encoded body.
pub(super) const ENCODING: &str = "encoding";
const BASE64: &str = "base64";

/// A body as it is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Encoded<'a> {
    pub(super) text: Cow<'a, str>,
    marked: bool,
}

impl<'a> Encoded<'a> {
    pub(super) fn new(body: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|e| format!("a body that is not UTF-8: {e}"))?;
        // An encoded empty body would be empty again; padding alone decodes to nothing.
        Ok(match text {
            "" => Self { text: Cow::Borrowed("="), marked: true },
            text if text.chars().all(is_taken) => Self { text: Cow::Borrowed(text), marked: false },
            text => Self { text: Cow::Owned(BASE64_STANDARD.encode(text)), marked: true },
        })
    }

    pub(super) fn put_into(
        self,
        entry: SendMessageBatchRequestEntryBuilder,
    ) -> Result<SendMessageBatchRequestEntry, BuildError> {
        let entry = entry.message_body(self.text);
        if !self.marked {
            return entry.build();
        }
        let mark = MessageAttributeValue::builder().data_type("String").string_value(BASE64).build()?;
        entry.message_attributes(ENCODING, mark).build()
    }
}

/// The body as it was sent. What is marked and is no base64 was sent by somebody else, and is given on as it is.
pub(super) fn decode(message: Message) -> Vec<u8> {
    let body = message.body.unwrap_or_default();
    let marked = message.message_attributes.is_some_and(|attributes| attributes.contains_key(ENCODING));
    match (marked, body.as_str()) {
        (true, "=") => Vec::new(),
        (true, text) => BASE64_STANDARD.decode(text).unwrap_or_else(|_| body.into_bytes()),
        (false, _) => body.into_bytes(),
    }
}

/// Whether SQS takes the character.
fn is_taken(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_out_as_they_went_in() {
        for (body, marked) in [("", true), ("a\0b", true), ("=", false), ("日本語 \"\\", false), ("\u{ffff}", true)]
        {
            let encoded = Encoded::new(body.as_bytes()).expect("text");
            assert_eq!(encoded.marked, marked, "{body:?}");
            assert!(!encoded.text.is_empty() && encoded.text.chars().all(is_taken));
            let sent = encoded.put_into(SendMessageBatchRequestEntry::builder().id("0")).expect("an entry");
            let message = Message::builder().body(sent.message_body).set_message_attributes(sent.message_attributes);
            assert_eq!(decode(message.build()), body.as_bytes());
        }
        assert!(Encoded::new(&[0xff]).is_err());
    }
}
