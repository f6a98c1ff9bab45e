//! Answers of Zipkin's query API: JSON made off the runtime's workers, in memory that is reserved first, and failures as
//! the plain text that Zipkin's clients show. Called by `mod`.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::budget::Reservation;
use crate::web::reports::{Pieces, RETRY_AFTER_SECONDS, Reports};

/// An answer's memory comes in pieces, the first of them for the many small answers.
const FIRST_PIECE_BYTES: usize = 4 * 1024;
const LARGEST_PIECE_BYTES: usize = 256 * 1024;

/// Why a question got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(super) struct Failure {
    status: StatusCode,
    text: String,
}

/// Why something is not put into an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// It would be more than `most` bytes.
    TooLarge { most: usize },
    /// There is no memory for it now.
    NoRoom,
}

/// 400: a question that cannot be read; the text names the parameter and says what is allowed.
pub(super) fn bad_request(text: impl Into<String>) -> Failure {
    Failure {
        status: StatusCode::BAD_REQUEST,
        text: text.into(),
    }
}

/// 404: what was asked for is not there.
pub(super) fn not_found(text: String) -> Failure {
    Failure {
        status: StatusCode::NOT_FOUND,
        text,
    }
}

/// 405: the API only answers questions.
pub(super) fn method_not_allowed() -> Failure {
    Failure {
        status: StatusCode::METHOD_NOT_ALLOWED,
        text: "this is only read: ask with GET".to_owned(),
    }
}

impl From<Full> for Failure {
    /// 500: what was asked for is there, and no answer can hold it. 503: none can at present.
    fn from(full: Full) -> Self {
        match full {
            Full::TooLarge { most } => Self {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                text: format!(
                    "in Zipkin's form this is more than the {} MiB that an answer may have at this memory limit; the page \
                     /traces/ID and /api/v1/traces/ID show it",
                    most / 1024 / 1024
                ),
            },
            Full::NoRoom => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                text: format!(
                    "spans under way take the memory that this answer needs; ask again in {RETRY_AFTER_SECONDS} seconds"
                ),
            },
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.text).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let after = HeaderValue::from(RETRY_AFTER_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, after);
        }
        response
    }
}

/// JSON as `work` makes it, on a thread that may take its time.
///
/// # Errors
/// What `work` fails with; 500 when it panicked.
pub(super) async fn json(
    reports: &Reports,
    work: impl FnOnce(Room) -> Result<Array, Failure> + Send + 'static,
) -> Result<Response, Failure> {
    let room = Room::of(reports);
    let made = tokio::task::spawn_blocking(move || room.and_then(work)).await;
    let array = made.unwrap_or_else(|_| {
        Err(Failure {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            text: "the answer could not be made; the collector's log says why".to_owned(),
        })
    })?;
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    Ok((content_type, Body::new(array.into_pieces())).into_response())
}

/// What an answer and what is held to make it may take, counted with the bodies of spans under way: those that come
/// meanwhile find what is left.
pub(super) struct Room {
    reservation: Reservation,
    most: usize,
}

impl Room {
    fn of(reports: &Reports) -> Result<Self, Failure> {
        let reservation = reports.making_memory().reserve(0);
        Ok(Self {
            reservation: reservation.ok_or(Full::NoRoom)?,
            most: reports.most_bytes(),
        })
    }

    /// To be asked before the bytes are held.
    ///
    /// # Errors
    /// [`Full`]: they must not be.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Full> {
        let taken = self.reservation.bytes().saturating_add(bytes);
        if taken > self.most {
            return Err(Full::TooLarge { most: self.most });
        }
        if self.reservation.grow_to(taken) {
            Ok(())
        } else {
            Err(Full::NoRoom)
        }
    }

    /// As [`take`](Self::take), for what is gathered for a list: that itself takes the other half.
    ///
    /// # Errors
    /// [`Full`].
    pub(super) fn gather(&mut self, bytes: usize) -> Result<(), Full> {
        if self.reservation.bytes().saturating_add(bytes) > self.most / 2 {
            return Err(Full::TooLarge { most: self.most });
        }
        self.take(bytes)
    }

    fn give_back(&mut self, bytes: usize) {
        let left = self.reservation.bytes().saturating_sub(bytes);
        self.reservation.shrink_to(left);
    }

    /// Bytes that may be taken yet.
    pub(super) fn left(&self) -> usize {
        self.most.saturating_sub(self.reservation.bytes())
    }

    /// Most bytes of an answer.
    pub(super) fn most(&self) -> usize {
        self.most
    }
}

/// A JSON array under way.
pub(super) struct Array {
    room: Room,
    pieces: Vec<Vec<u8>>,
    bytes: usize,
    /// Nothing is in the innermost array.
    is_empty: bool,
}

impl Array {
    /// # Errors
    /// [`Full::NoRoom`].
    pub(super) fn new(room: Room) -> Result<Self, Full> {
        let mut array = Self {
            room,
            pieces: Vec::new(),
            bytes: 0,
            is_empty: true,
        };
        array.write(b"[")?;
        Ok(array)
    }

    /// Most bytes that an element may have yet.
    pub(super) fn left(&self) -> usize {
        self.room.most().saturating_sub(self.bytes)
    }

    /// Most bytes of an answer.
    pub(super) fn most(&self) -> usize {
        self.room.most()
    }

    /// Appends an element, itself JSON.
    ///
    /// # Errors
    /// [`Full`]: not all of it is appended, and the answer has to be given up, unless this is a part of
    /// [`push_array`](Self::push_array).
    pub(super) fn push(&mut self, element: &[u8]) -> Result<(), Full> {
        self.begin()?;
        self.write(element)
    }

    /// Appends an array of what `fill` appends.
    ///
    /// # Errors
    /// What `fill` fails with: nothing is appended then.
    pub(super) fn push_array(
        &mut self,
        fill: impl FnOnce(&mut Self) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let before = (self.bytes, self.is_empty);
        let filled = self.begin().and_then(|()| {
            self.write(b"[")?;
            self.is_empty = true;
            fill(self)?;
            self.is_empty = false;
            self.write(b"]")
        });
        if filled.is_err() {
            self.take_back(before.0);
            self.is_empty = before.1;
        }
        filled
    }

    /// The end of it, for which there is always room.
    pub(super) fn finished(mut self) -> Self {
        if self.write(b"]").is_err() {
            self.pieces.push(b"]".to_vec());
        }
        self
    }

    /// An array of as many of `elements` as there may be.
    ///
    /// # Errors
    /// [`Full::NoRoom`].
    pub(super) fn of_most(
        room: Room,
        elements: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Self, Full> {
        let mut array = Self::new(room)?;
        for element in elements {
            let before = array.bytes;
            match array.push(&element) {
                Ok(()) => {}
                Err(Full::TooLarge { .. }) => {
                    array.take_back(before);
                    break;
                }
                Err(Full::NoRoom) => return Err(Full::NoRoom),
            }
        }
        Ok(array.finished())
    }

    fn begin(&mut self) -> Result<(), Full> {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.write(b",")?;
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Full> {
        while !bytes.is_empty() {
            let piece = self.piece_with_room()?;
            let (now, later) = bytes.split_at(bytes.len().min(piece.capacity() - piece.len()));
            piece.extend_from_slice(now);
            self.bytes += now.len();
            bytes = later;
        }
        Ok(())
    }

    fn piece_with_room(&mut self) -> Result<&mut Vec<u8>, Full> {
        let has_room = |piece: &Vec<u8>| piece.len() < piece.capacity();
        if !self.pieces.last().is_some_and(has_room) {
            let wanted = self.bytes.clamp(FIRST_PIECE_BYTES, LARGEST_PIECE_BYTES);
            let bytes = wanted.min(self.room.left().max(1));
            self.room.take(bytes)?;
            self.pieces.push(Vec::with_capacity(bytes));
        }
        // There is one now.
        self.pieces.last_mut().ok_or(Full::NoRoom)
    }

    /// Back to the first `bytes`.
    fn take_back(&mut self, bytes: usize) {
        while self.bytes > bytes
            && let Some(piece) = self.pieces.last_mut()
        {
            let less = piece.len().min(self.bytes - bytes);
            piece.truncate(piece.len() - less);
            self.bytes -= less;
            if piece.is_empty() {
                self.room.give_back(piece.capacity());
                self.pieces.pop();
            }
        }
    }

    fn into_pieces(self) -> Pieces {
        self.pieces.into_iter().map(Into::into).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::budget::Budget;

    fn room(budget: &Budget, most: usize) -> Room {
        Room {
            reservation: budget.reserve(0).unwrap(),
            most,
        }
    }

    fn text(array: Array) -> String {
        let bytes: Vec<u8> = array.finished().pieces.concat();
        String::from_utf8(bytes).unwrap()
    }

    proptest! {
        /// Arrays that fit are there whole, the others not at all, and every byte was reserved.
        #[test]
        fn what_fits_is_there_and_counted(
            arrays in proptest::collection::vec(proptest::collection::vec(0..9_000_usize, 0..4), 0..40),
            most in 2_000..200_000_usize,
        ) {
            let budget = Budget::new(usize::MAX);
            let mut array = Array::new(room(&budget, most)).unwrap();
            let mut there = Vec::new();
            for sizes in arrays {
                let elements: Vec<_> = sizes.iter().map(|&size| vec![b'7'; size + 1]).collect();
                let pushed = array.push_array(|array| {
                    elements.iter().try_for_each(|element| array.push(element))
                });
                match pushed {
                    Ok(()) => there.push(elements),
                    Err(full) => assert_eq!(full, Full::TooLarge { most }),
                }
                let held: usize = array.pieces.iter().map(Vec::capacity).sum();
                assert!(budget.used() >= held && held >= array.bytes);
                assert!(budget.used() <= most);
            }
            let expected = there.iter().map(|elements| {
                let elements = elements.iter().map(|element| str::from_utf8(element).unwrap());
                format!("[{}]", elements.collect::<Vec<_>>().join(","))
            });
            let expected = format!("[{}]", expected.collect::<Vec<_>>().join(","));
            assert_eq!(text(array), expected);
            assert_eq!(budget.used(), 0);
        }
    }

    #[test]
    fn an_array_that_does_not_fit_leaves_room_for_a_smaller_one() {
        let budget = Budget::new(usize::MAX);
        let mut array = Array::new(room(&budget, 10_000)).unwrap();
        let large = vec![b'1'; 20_000];
        assert!(array.push_array(|array| array.push(&large)).is_err());
        array
            .push_array(|array| array.push(&large[..9_000]))
            .unwrap();
        assert_eq!(text(array).len(), 9_004);
    }

    #[test]
    fn without_memory_there_is_no_answer_and_beyond_the_bound_a_list_ends() {
        let budget = Budget::new(100_000);
        let held = budget.reserve(50_000).unwrap();
        let elements = || vec![vec![b'1'; 999]; 90];
        let array = Array::of_most(room(&budget, 100_000), elements());
        assert_eq!(array.err(), Some(Full::NoRoom));
        drop(held);
        let cut = text(Array::of_most(room(&budget, 50_000), elements()).unwrap());
        let elements = cut.trim_matches(['[', ']']).split(',');
        let lengths: Vec<_> = elements.map(str::len).collect();
        assert!(lengths.iter().all(|&length| length == 999), "whole ones");
        // To the last byte, but for the end.
        assert_eq!(lengths.len(), 50);
        let mut gathered = room(&budget, 1_000);
        gathered.gather(500).unwrap();
        assert_eq!(gathered.gather(1), Err(Full::TooLarge { most: 1_000 }));
    }
}
