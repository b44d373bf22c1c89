//! A list of rooms as bytes: ascending, each as the difference to the one before, in base 128, low bits first.

use chat::RoomId;

/// Packs ascending, distinct rooms.
pub(crate) fn pack(rooms: &[RoomId]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rooms.len() * 2 + 8);
    let mut previous = 0;
    for room in rooms {
        let mut rest = room.get().wrapping_sub(previous);
        previous = room.get();
        while rest >= 0x80 {
            bytes.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
    }
    bytes
}

/// Unpacks; `None` for bytes that [`pack`] does not write.
pub(crate) fn unpack(bytes: &[u8]) -> Option<Vec<RoomId>> {
    let mut rooms = Vec::with_capacity(bytes.len());
    let (mut previous, mut delta, mut shift) = (0_u64, 0_u64, 0);
    for &byte in bytes {
        let bits = u64::from(byte & 0x7f);
        if shift > 63 || bits << shift >> shift != bits {
            return None;
        }
        delta |= bits << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            if delta == 0 && !rooms.is_empty() {
                return None;
            }
            previous = previous.checked_add(delta)?;
            rooms.push(RoomId::new(previous).ok()?);
            (delta, shift) = (0, 0);
        }
    }
    (shift == 0).then_some(rooms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_unpack_as_packed() {
        let lists: [&[u64]; 5] =
            [&[], &[0], &[0, 1, 127, 128, 129, 20_000], &[1 << 62, i64::MAX as u64], &[i64::MAX as u64]];
        for list in lists {
            let rooms: Vec<_> = list.iter().map(|&room| RoomId::from_bits(room)).collect();
            assert_eq!(unpack(&pack(&rooms)), Some(rooms));
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let too_large = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        for bytes in [&[0x80][..], &[5, 0], &[5, 0x81], &too_large, &[0xff; 11]] {
            assert_eq!(unpack(bytes), None, "{bytes:?}");
        }
    }
}
