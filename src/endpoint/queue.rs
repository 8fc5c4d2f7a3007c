//! What may wait for an endpoint, and in which order it goes out.

/// How much may wait for an endpoint: deliveries that are pending and not in flight, wherever they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePolicy {
    /// Deliveries.
    pub max_items: u64,
    /// Bytes of their events: data and metadata, and 256 for the rest of each.
    pub max_bytes: u64,
    /// What becomes of what is too much. A publisher is never refused because of it. It is judged once in each step in which a store
    /// writes new deliveries, at its end. On disk a step is a transaction, with many verdicts and outcomes of some
    /// milliseconds: what was delivered in the same one has made room already, and of what is new and too much at once the
    /// oldest (the newest) are dropped as they stand then. In memory each group of verdicts is a step. So which deliveries are
    /// dropped, and whether a short excess is noticed, may differ between stores and from run to run; that the bounds hold after each
    /// step, but for what is in flight, does not.
    pub when_full: WhenFull,
}

/// What becomes of what is too much for a queue: it is dropped, reason `queue_full`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The queue goes to disk, where there is one; beyond its bounds as with [`WhenFull::DropOldest`].
    #[default]
    Spill,
    /// The oldest that waits is dropped.
    DropOldest,
    /// What is new is dropped; what waits already stays.
    DropNewest,
}

impl Default for QueuePolicy {
    /// A long outage costs disk, but not all of it.
    fn default() -> Self {
        Self { max_items: 1_000_000, max_bytes: 2 << 30, when_full: WhenFull::default() }
    }
}

impl QueuePolicy {
    /// Whether so much may wait.
    pub const fn has_room_for(&self, items: u64, bytes: u64) -> bool {
        items <= self.max_items && bytes <= self.max_bytes
    }
}

/// In which order an endpoint gets its events. One that takes a single attempt at a time gets all of them strictly in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordered {
    /// Whatever is due goes out.
    #[default]
    None,
    /// The events of one key go out one after another: none is attempted before all earlier ones of its key have ended,
    /// replays among them, which take the place of their event. Events without a key have no order. Other keys go on, as long
    /// as no more than 1024 keys are held up with more events than are kept in memory; beyond that nothing new starts
    /// until one of them goes on.
    Key,
}
