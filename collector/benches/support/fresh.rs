//! The same request again and again, as if it were new traffic. For benches that count into views.

use bellwether_collector::wire::walk;
use bytes::Bytes;

/// The request with other trace ids in each round, as real traffic has them: the views would take it for duplicates
/// otherwise.
pub(crate) fn fresh(request: &[u8], round: u64) -> Bytes {
    let mut copy = request.to_vec();
    let start = request.as_ptr() as usize;
    let patched = walk(request, |span| {
        // A span's first field is its trace id: tag, length, 16 bytes.
        let at = span.raw.as_ptr() as usize - start + 2;
        for (byte, other) in copy[at..].iter_mut().zip(round.to_be_bytes()) {
            *byte ^= other;
        }
    });
    assert!(patched.is_ok());
    Bytes::from(copy)
}
