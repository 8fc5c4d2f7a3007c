//! What can go wrong everywhere: mistakes in what a user wrote, and a store that fails.

use std::fmt;

/// One mistake in something a user wrote, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Where: a JSON Pointer as a URI fragment, such as `#/retry/max_age`; `#` is the whole.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl Fault {
    /// A mistake at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.detail)
    }
}

/// Every mistake found in one input; never empty. The input changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid(Vec<Fault>);

impl Invalid {
    /// One mistake at `pointer`.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self(vec![Fault::new(pointer, detail)])
    }

    /// `Err` with all of `faults`, `Ok` when there are none.
    pub fn unless_empty(faults: Vec<Fault>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self(faults)) }
    }

    /// The mistakes, in the order of the input.
    pub fn faults(&self) -> &[Fault] {
        &self.0
    }

    /// The same mistakes inside a larger input: `prefix` (such as `/endpoints/3`) goes in front of each place.
    #[must_use]
    pub fn below(self, prefix: &str) -> Self {
        let place = |fault: Fault| {
            let rest = fault.pointer.strip_prefix('#').unwrap_or(&fault.pointer);
            Fault { pointer: format!("#{prefix}{rest}"), detail: fault.detail }
        };
        Self(self.0.into_iter().map(place).collect())
    }
}

impl From<Invalid> for Vec<Fault> {
    fn from(invalid: Invalid) -> Self {
        invalid.0
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

/// The store could not do what it was asked; nothing of it was done.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk has no room left, or less than the reserve.
    #[error("the store has no room left: {0}")]
    Full(String),
    /// The data is held by another process, of a newer version, or damaged.
    #[error("the store cannot be used: {0}")]
    Unusable(String),
    /// Reading or writing failed.
    #[error("the store failed: {0}")]
    Failed(String),
    /// Too many readings wait already; the same may succeed a little later.
    #[error("the store is busy: too many wait to read")]
    Busy,
    /// As many readings of the tenant who asks wait as one may have; the same may succeed a little later.
    #[error("too many readings of this tenant's wait already")]
    Quota,
    /// The store has been shut down.
    #[error("the store is closed")]
    Closed,
}
