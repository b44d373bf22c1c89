//! A block: some hundred ids of one room in the space of half of them.
//!
//! A value is a header of four bytes (count, bits of worker and of counter, width) and `count` offsets of `width` bits each,
//! oldest first. An offset is `milliseconds since the oldest id ‖ worker ‖ counter`, the latter two only as wide as the block
//! needs, so offsets are ordered as ids are and the i-th is found without reading those before it: bounds are searched in
//! the packed block and only what is asked for is unpacked. The oldest id itself is in the key.

use std::ops::Range;

use chat::MessageId;

/// The longest block. LMDB keeps a value of up to 2,014 bytes (under a key of 16, or a key and an id of 8 each) in the tree's
/// leaf, so that two full blocks fill a page of 4 KiB; a longer one would take whole pages of its own.
pub(crate) const MAX_BYTES: usize = 2_000;
const HEADER_BYTES: usize = 4;
/// The widest offset that one unaligned read of 64 bits always covers; wider ones are stored with all 64.
const MAX_UNALIGNED_BITS: u32 = 57;
const WORKER_BITS: u32 = MessageId::MILLIS_SHIFT - MessageId::COUNTER_BITS;

/// How a block's offsets are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    worker_bits: u32,
    counter_bits: u32,
    width: u32,
}

impl Shape {
    /// The narrowest shape for ids that span `millis`, with all their workers and counters or-ed together.
    fn of(millis: u64, workers: u64, counters: u64) -> Self {
        let (worker_bits, counter_bits) = (bits(workers), bits(counters));
        let width = bits(millis) + worker_bits + counter_bits;
        Self { worker_bits, counter_bits, width: if width > MAX_UNALIGNED_BITS { u64::BITS } else { width } }
    }

    fn body_bytes(self, count: usize) -> usize {
        (count * self.width as usize).div_ceil(8)
    }

    fn offset(self, id: MessageId, oldest_ms: u64) -> u64 {
        let ms = id.millis() - oldest_ms;
        ((ms << self.worker_bits | worker(id)) << self.counter_bits) | counter(id)
    }
}

fn bits(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

fn worker(id: MessageId) -> u64 {
    (id.get() >> MessageId::COUNTER_BITS) & ((1 << WORKER_BITS) - 1)
}

fn counter(id: MessageId) -> u64 {
    id.get() & ((1 << MessageId::COUNTER_BITS) - 1)
}

const fn mask(bits: u32) -> u64 {
    if bits >= u64::BITS { u64::MAX } else { (1 << bits) - 1 }
}

/// How many of `ids` (strictly ascending), from the first on, go into one block; at most `most`.
pub(crate) fn fitting(ids: &[MessageId], most: usize) -> usize {
    let Some(oldest) = ids.first() else { return 0 };
    let (mut workers, mut counters) = (0, 0);
    for (index, id) in ids.iter().take(most).enumerate() {
        workers |= worker(*id);
        counters |= counter(*id);
        let shape = Shape::of(id.millis() - oldest.millis(), workers, counters);
        if HEADER_BYTES + shape.body_bytes(index + 1) > MAX_BYTES {
            return index;
        }
    }
    ids.len().min(most)
}

/// Packs `ids` (strictly ascending, not empty, as many as [`fitting`] says) and appends the block to `out`.
pub(crate) fn encode(ids: &[MessageId], out: &mut Vec<u8>) {
    let (Some(oldest), Some(newest)) = (ids.first(), ids.last()) else { return };
    let (workers, counters) = ids.iter().fold((0, 0), |(w, c), id| (w | worker(*id), c | counter(*id)));
    let shape = Shape::of(newest.millis() - oldest.millis(), workers, counters);
    let count = u16::try_from(ids.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&count.to_le_bytes());
    // Worker bits (at most 10) and counter bits (at most 12) take four bits each.
    out.push((shape.worker_bits << 4 | shape.counter_bits) as u8);
    out.push(shape.width as u8);
    let body = out.len();
    // Eight bytes more than needed, so that each offset is or-ed in as one word.
    out.resize(body + shape.body_bytes(ids.len()) + 8, 0);
    let mut bit = 0;
    for id in ids {
        let word = shape.offset(*id, oldest.millis()) << (bit & 7);
        let at = body + (bit >> 3);
        for (byte, more) in out[at..at + 8].iter_mut().zip(word.to_le_bytes()) {
            *byte |= more;
        }
        bit += shape.width as usize;
    }
    out.truncate(body + shape.body_bytes(ids.len()));
}

/// A packed block as it lies in the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    oldest_ms: u64,
    count: usize,
    shape: Shape,
    body: &'a [u8],
}

impl<'a> Block<'a> {
    /// Reads the header; `None` when the value is no block whose oldest id is `oldest`.
    pub(crate) fn parse(oldest: MessageId, value: &'a [u8]) -> Option<Self> {
        let (header, body) = value.split_first_chunk::<HEADER_BYTES>()?;
        let [count_low, count_high, low_bits, width] = *header;
        let count = usize::from(u16::from_le_bytes([count_low, count_high]));
        let shape = Shape {
            worker_bits: u32::from(low_bits >> 4),
            counter_bits: u32::from(low_bits & 15),
            width: width.into(),
        };
        let sound = count > 0
            && shape.worker_bits <= WORKER_BITS
            && shape.counter_bits <= MessageId::COUNTER_BITS
            && (shape.width <= MAX_UNALIGNED_BITS || shape.width == u64::BITS)
            && shape.worker_bits + shape.counter_bits <= shape.width
            && body.len() == shape.body_bytes(count);
        let block = Self { oldest_ms: oldest.millis(), count, shape, body };
        (sound && block.id(0) == oldest).then_some(block)
    }

    /// How many ids there are; at least 1.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The id at `index`, 0 being the oldest; `index` must be below [`Self::len`].
    #[inline]
    fn id(&self, index: usize) -> MessageId {
        let bit = index * self.shape.width as usize;
        let rest = self.body.get(bit >> 3..).unwrap_or_default();
        let word = match rest.first_chunk::<8>() {
            Some(word) => u64::from_le_bytes(*word),
            None => last_word(rest),
        };
        let offset = (word >> (bit & 7)) & mask(self.shape.width);
        let Shape { worker_bits, counter_bits, .. } = self.shape;
        let ms = self.oldest_ms.wrapping_add(offset >> (worker_bits + counter_bits));
        let worker = (offset >> counter_bits) & mask(worker_bits);
        let counter = offset & mask(counter_bits);
        MessageId::from_bits(ms << MessageId::MILLIS_SHIFT | worker << MessageId::COUNTER_BITS | counter)
    }

    /// How many ids are below `bound`: the index of the first that is not.
    pub(crate) fn below(&self, bound: MessageId) -> usize {
        if self.id(self.count - 1) < bound {
            return self.count;
        }
        let (mut low, mut high) = (0, self.count - 1);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.id(middle) < bound {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The ids of `range`, newest first.
    pub(crate) fn newest_first(&self, range: Range<usize>) -> impl ExactSizeIterator<Item = MessageId> + use<'a> {
        let end = range.end.min(self.count);
        // A copy, so that what is common to all ids stays in registers while they are written elsewhere.
        let block = *self;
        (range.start.min(end)..end).rev().map(move |index| block.id(index))
    }
}

/// The last bytes of a body as one word, as if zeros followed.
#[cold]
fn last_word(rest: &[u8]) -> u64 {
    rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::cases;

    fn packed(ids: &[MessageId]) -> Vec<u8> {
        let mut value = Vec::new();
        encode(ids, &mut value);
        value
    }

    #[test]
    fn ids_read_back_as_packed_whatever_their_spread() {
        cases::each(200, |random| {
            let ids = cases::ids(random, 2_500);
            let fitting = fitting(&ids, usize::MAX);
            assert!(fitting > 0);
            let ids = &ids[..fitting];
            let value = packed(ids);
            assert!(value.len() <= MAX_BYTES);
            let block = Block::parse(ids[0], &value).expect("a block");
            assert!(block.newest_first(0..usize::MAX).eq(ids.iter().rev().copied()));
        });
    }

    #[test]
    fn the_extremes_read_back() {
        let ids = [0, 1, 4_095, 4_096, (1 << 22) - 1, 1 << 22, i64::MAX as u64 - 1, i64::MAX as u64];
        let ids = ids.map(MessageId::from_bits);
        for few in ids.windows(2).chain([&ids[..], &ids[..1], &ids[7..]]) {
            let value = packed(few);
            let block = Block::parse(few[0], &value).expect("a block");
            assert!(block.newest_first(0..few.len()).eq(few.iter().rev().copied()), "{few:?}");
        }
    }

    #[test]
    fn a_bound_is_found_as_by_looking_at_every_id() {
        cases::each(100, |random| {
            let ids = cases::ids(random, 300);
            let ids = &ids[..fitting(&ids, usize::MAX)];
            let value = packed(ids);
            let block = Block::parse(ids[0], &value).expect("a block");
            for _ in 0..50 {
                let near = ids[random.usize(..ids.len())].get();
                let bound = MessageId::from_bits(near.saturating_add(random.u64(0..3)).saturating_sub(1));
                assert_eq!(block.below(bound), ids.iter().filter(|id| **id < bound).count());
            }
            assert_eq!(block.below(MessageId::from_bits(0)), 0);
        });
    }

    #[test]
    fn damaged_bytes_never_panic() {
        cases::each(300, |random| {
            let ids = cases::ids(random, 60);
            let mut value = packed(&ids[..fitting(&ids, usize::MAX)]);
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..value.len());
                value[at] = random.u8(..);
            }
            value.truncate(random.usize(..=value.len()));
            if let Some(block) = Block::parse(ids[0], &value) {
                block.newest_first(0..usize::MAX).for_each(drop);
                assert!(block.below(MessageId::MAX) <= block.len());
            }
        });
    }

    #[test]
    fn a_block_under_the_wrong_key_is_refused() {
        let ids = [5, 6, 7].map(MessageId::from_bits);
        assert!(Block::parse(ids[0], &packed(&ids)).is_some());
        assert!(Block::parse(ids[1], &packed(&ids)).is_none());
    }
}
