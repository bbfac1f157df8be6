//! One event in bytes: a TFRecord frame around the few fields of protocol buffers that scalars need.
//!
//! `Event { 1: double wall_time, 2: int64 step, 3: string file_version, 5: Summary summary }`,
//! `Summary { 1: repeated Value }`, `Value { 1: string tag, 2: float simple_value }`.

use super::crc32c::masked;

/// Kinds of fields on the wire.
const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const LENGTH: u64 = 2;
const FOUR_BYTES: u64 = 5;

/// `length (u64), its checksum, data, its checksum`, little-endian.
pub(super) fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length).to_le_bytes(), data, &masked(data).to_le_bytes()].concat()
}

/// The event that opens a file.
pub(super) fn version(wall_time: f64) -> Vec<u8> {
    let mut event = time(wall_time);
    bytes(&mut event, 3, b"brain.Event:2");
    event
}

/// An event of scalars; NaN is written as such, and TensorBoard shows it as a gap.
pub(super) fn scalars(wall_time: f64, step: i64, values: &[(String, f64)]) -> Vec<u8> {
    let mut event = time(wall_time);
    key(&mut event, 2, VARINT);
    varint(&mut event, step as u64);
    let mut summary = Vec::new();
    for (tag, number) in values {
        let mut value = Vec::new();
        bytes(&mut value, 1, tag.as_bytes());
        key(&mut value, 2, FOUR_BYTES);
        value.extend((*number as f32).to_le_bytes());
        bytes(&mut summary, 1, &value);
    }
    bytes(&mut event, 5, &summary);
    event
}

fn time(wall_time: f64) -> Vec<u8> {
    let mut event = Vec::new();
    key(&mut event, 1, EIGHT_BYTES);
    event.extend(wall_time.to_le_bytes());
    event
}

fn key(into: &mut Vec<u8>, field: u64, kind: u64) {
    varint(into, field << 3 | kind);
}

fn bytes(into: &mut Vec<u8>, field: u64, data: &[u8]) {
    key(into, field, LENGTH);
    varint(into, data.len() as u64);
    into.extend(data);
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_laid_out_as_the_protocol_has_it() {
        let event = scalars(1.0, 300, &[("kl".into(), 0.5)]);
        let expected = [
            &[0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f][..],   // 1: 1.0
            &[0x10, 0xac, 0x02],                         // 2: 300
            &[0x2a, 11, 0x0a, 9],                        // 5: a summary of one value
            &[0x0a, 2, b'k', b'l', 0x15, 0, 0, 0, 0x3f], // 1: "kl", 2: 0.5
        ]
        .concat();
        assert_eq!(event, expected);
    }

    #[test]
    fn a_frame_can_be_taken_apart_again() {
        let frame = framed(b"data");
        let (length, rest) = frame.split_at(8);
        assert_eq!(u64::from_le_bytes(length.try_into().unwrap()), 4);
        assert_eq!(rest[..4], masked(length).to_le_bytes());
        assert_eq!(rest[4..8], *b"data");
        assert_eq!(rest[8..], masked(b"data").to_le_bytes());
    }
}
