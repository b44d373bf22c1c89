//! Doubles that the tests of lanes share.

mod records;

use worker::Cause;
use worker::lanes::Parcels;

pub(crate) use records::Records;

/// Keys and items are numbers; an item is its offset.
pub(crate) struct Numbers;

impl Parcels<u32, u64> for Numbers {
    fn key_words(&self, key: &u32) -> String {
        key.to_string()
    }

    fn read_key(&self, words: &str) -> Result<u32, Cause> {
        words.parse().map_err(|error| Cause::of("corrupt", &error))
    }

    fn item_bytes(&self, item: &u64) -> Vec<u8> {
        item.to_le_bytes().to_vec()
    }

    fn read_item(&self, bytes: &[u8]) -> Result<u64, Cause> {
        Ok(u64::from_le_bytes(bytes.try_into().map_err(|error| Cause::of("corrupt", &error))?))
    }
}
