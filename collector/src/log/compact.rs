//! A batch on its own memory: keeps a few bytes from pinning a large allocation they happen to lie in.
//! Called by `intake` before a batch is walked.

use bytes::Bytes;

/// Memory beyond a batch's own length that it may pin.
const SLACK: usize = 4_096;

/// The same bytes, copied unless they own their allocation and fill at least half of it (4 KiB aside). The
/// slices that a connection hands out share its read buffer: kept, they would pin all of it, and the log's
/// cap would count only what they show.
pub fn compact(batch: Bytes) -> Bytes {
    match batch.try_into_mut() {
        Ok(own) if own.capacity() <= own.len() * 2 + SLACK => own.freeze(),
        Ok(wasteful) => Bytes::copy_from_slice(&wasteful),
        Err(shared) => Bytes::copy_from_slice(&shared),
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    fn check(batch: Bytes, copied: bool) {
        let (content, address) = (batch.to_vec(), batch.as_ptr());
        let compacted = compact(batch);
        assert_eq!(compacted, content);
        assert_eq!(compacted.as_ptr() != address, copied);
    }

    #[test]
    fn only_what_pins_more_than_it_shows_is_copied() {
        check(Bytes::from(vec![1; 100_000]), false);
        let mut read_buffer = BytesMut::with_capacity(120_000);
        read_buffer.extend_from_slice(&[2; 100_000]);
        check(read_buffer.freeze(), false);
        let mut read_buffer = BytesMut::with_capacity(1 << 20);
        read_buffer.extend_from_slice(&[3; 500]);
        check(read_buffer.freeze(), true);
        let whole = Bytes::from(vec![4; 100_000]);
        check(whole.slice(10..20), true);
    }
}
