//! The data of an event: JSON that is bounded in size and depth.

use std::ops::Deref;

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::{MAX_DATA_BYTES, MAX_DATA_DEPTH};

/// What somebody publishes as data.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    bytes: Bytes,
    /// A parser has seen that it is JSON: it is not parsed again.
    parsed: bool,
}

impl Data {
    /// Whatever a program gives as JSON.
    pub(crate) fn given(bytes: Bytes) -> Self {
        Self { bytes, parsed: false }
    }

    /// What serde_json has written or parsed.
    pub(crate) fn parsed(bytes: Bytes) -> Self {
        Self { bytes, parsed: true }
    }

    /// Checks the rules.
    ///
    /// # Errors
    /// The first that is broken.
    pub(super) fn check(&self) -> Result<(), String> {
        bounded(&self.bytes)?;
        if self.parsed { Ok(()) } else { syntax(&self.bytes) }
    }
}

impl Deref for Data {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

pub(super) fn check(data: &[u8]) -> Result<(), String> {
    bounded(data)?;
    syntax(data)
}

fn bounded(data: &[u8]) -> Result<(), String> {
    if data.len() > MAX_DATA_BYTES {
        return Err(format!("has {} bytes; {MAX_DATA_BYTES} at most", data.len()));
    }
    if may_be_deep(data) && depth(data) > MAX_DATA_DEPTH {
        return Err(format!("is nested deeper than {MAX_DATA_DEPTH} levels"));
    }
    Ok(())
}

fn syntax(data: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(data).map_err(|error| format!("is not UTF-8: {error}"))?;
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("is not JSON: {error}")),
    }
}

/// What opens fewer brackets than may be nested need not be followed byte by byte.
fn may_be_deep(json: &[u8]) -> bool {
    // So many at a time fit a byte: a vector of bytes counts them, at a tenth of the cost.
    let opened = json.chunks(255).map(|some| some.iter().map(|byte| u8::from(matches!(byte, b'{' | b'['))).sum::<u8>());
    opened.map(usize::from).sum::<usize>() > MAX_DATA_DEPTH
}

/// The deepest nesting of arrays and objects in a JSON text.
pub(crate) fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
