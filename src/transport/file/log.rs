//! One file and its one writer.

use std::io;

use super::{
    append::{Appended, append},
    place::{Lines, Place},
    rotation,
};
use crate::endpoint::Rotation;

/// How often in a row a file may be moved or deleted while it is written to.
const ROUNDS: usize = 8;

/// A file, open as long as it is used.
#[derive(Default)]
pub(super) struct Log(Option<Lines>);

impl Log {
    /// Appends pieces, each of whole lines, and brings them to disk; tells how many of them, and what kept it from the rest.
    pub(super) fn write(
        &mut self,
        place: &Place,
        pieces: &[&[u8]],
        rotate: Option<Rotation>,
    ) -> (usize, io::Result<()>) {
        let (mut done, mut idle) = (0, 0);
        while let Some(rest) = pieces.get(done..).filter(|rest| !rest.is_empty()) {
            match self.step(place, rest, rotate) {
                Ok(0) if idle < ROUNDS => idle += 1,
                Ok(0) => return (done, Err(io::Error::other("is moved or deleted again and again"))),
                Ok(count) => (done, idle) = (done + count, 0),
                Err(error) => {
                    self.0 = None;
                    return (done, Err(error));
                }
            }
        }
        (done, Ok(()))
    }

    /// Writes as many pieces as go into one file; none when another file must be opened first.
    fn step(&mut self, place: &Place, pieces: &[&[u8]], rotate: Option<Rotation>) -> io::Result<usize> {
        let mut lines = match self.0.take() {
            Some(lines) if place.is_of(&lines)? => lines,
            _ => place.open()?,
        };
        let lengths = pieces.iter().map(|piece| piece.len());
        let count = rotation::fitting(lines.length()?, lengths, rotate.map(|rotate| rotate.max_bytes));
        if let (0, Some(rotate)) = (count, rotate) {
            place.rotate(rotate.keep)?;
            return Ok(0);
        }
        append(&mut lines, &pieces.get(..count).unwrap_or_default().concat())?;
        // Deleted before it was confirmed: nobody can have read it, and it is written again.
        if lines.is_deleted()? {
            return Ok(0);
        }
        self.0 = Some(lines);
        Ok(count)
    }
}
