//! When a Delivery has had nothing to do for so long that it is not needed.

use std::time::Duration;

use crate::clock::Mono;

/// An endpoint that was silent for so long has no Delivery.
const IDLE: Duration = Duration::from_secs(60);

/// Since when there is nothing to do. It is looked at once in a while only: a timer for each pause would cost every event.
#[derive(Debug)]
pub(super) struct Rest {
    since: Option<Mono>,
    look_at: Mono,
}

impl Rest {
    /// Begins now.
    pub(super) fn new(now: Mono) -> Self {
        Self { since: None, look_at: now.after(IDLE) }
    }

    /// Whether there is nothing to do now.
    pub(super) fn note(&mut self, quiet: bool, now: Mono) {
        self.since = quiet.then(|| self.since.unwrap_or(now));
    }

    /// When to ask [`Rest::is_due`].
    pub(super) fn look_at(&self) -> Mono {
        self.look_at
    }

    /// Whether there was nothing to do for long enough; if not, it is looked at again when there may have been.
    pub(super) fn is_due(&mut self, now: Mono) -> bool {
        if now < self.look_at {
            return false;
        }
        let due = self.since.is_some_and(|since| now.since(since) >= IDLE);
        self.look_at = self.since.filter(|_| !due).unwrap_or(now).after(IDLE);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Mono {
        Mono::from_start(Duration::from_secs(second))
    }

    #[test]
    fn a_pause_counts_from_its_beginning() {
        let mut rest = Rest::new(at(0));
        rest.note(true, at(1));
        rest.note(false, at(50));
        assert!(!rest.is_due(at(59)));
        rest.note(true, at(55));
        rest.note(true, at(58));
        assert!(!rest.is_due(at(60)));
        assert_eq!(rest.look_at(), at(115));
        assert!(rest.is_due(at(115)));
        // Whoever may not rest now looks again later.
        assert_eq!(rest.look_at(), at(175));
        assert!(rest.is_due(at(175)));
    }
}
