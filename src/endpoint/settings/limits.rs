//! The bounds of an endpoint's settings. Whatever lies outside is refused with its place.

use std::{ops::RangeInclusive, time::Duration};

/// Longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Longest URL, in bytes, as it is sent.
pub const MAX_URL_BYTES: usize = 2048;
/// `rotate.max_bytes`.
pub const ROTATE_BYTES: RangeInclusive<u64> = (4 << 10)..=(1 << 40);
/// `rotate.keep`.
pub const ROTATE_KEEP: RangeInclusive<u32> = 1..=1000;
/// Most topic patterns; at least one.
pub const MAX_TOPICS: usize = 256;
/// Most extra headers.
pub const MAX_HEADERS: usize = 32;
/// Longest extra header, name and value together, and longest credential, in bytes.
pub const MAX_HEADER_BYTES: usize = 4 << 10;
/// Longest metadata, in bytes of JSON.
pub const MAX_METADATA_BYTES: usize = 16 << 10;
/// Deepest nesting of arrays and objects in metadata, the metadata object itself among them.
pub const MAX_METADATA_DEPTH: usize = 32;
/// Most secrets at once.
pub const MAX_SECRETS: usize = 8;
/// How long old secrets may sign beside a new one.
pub const OVERLAP: RangeInclusive<Duration> = Duration::ZERO..=MONTH;
/// Longest secret of a plain HMAC, in bytes.
pub const MAX_TEXT_SECRET_BYTES: usize = 1024;
/// Longest text before a plain HMAC, in bytes.
pub const MAX_PREFIX_BYTES: usize = 64;
/// `batch.max_items`.
pub const BATCH_ITEMS: RangeInclusive<u32> = 1..=1000;
/// `batch.max_bytes`.
pub const BATCH_BYTES: RangeInclusive<u64> = 1..=16 << 20;
/// `batch.flush_interval`.
pub const FLUSH_INTERVAL: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
/// The deadline of one exchange.
pub const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);
/// Attempts at once.
pub const IN_FLIGHT: RangeInclusive<u16> = 1..=4096;
/// Most waits in `retry.delays`. None at all means a single attempt.
pub const MAX_DELAYS: usize = 100;
/// Each wait in `retry.delays`.
pub const DELAY: RangeInclusive<Duration> = Duration::ZERO..=MONTH;
/// `retry.initial`, `retry.max_delay` and `retry.max_age`.
pub const RETRY_TIME: RangeInclusive<Duration> = Duration::from_millis(1)..=MONTH;
/// `retry.factor`.
pub const FACTOR: RangeInclusive<f64> = 1.0..=100.0;
/// `retry.max_attempts`.
pub const MAX_ATTEMPTS: RangeInclusive<u32> = 1..=10_000;
/// `rate.per_second`.
pub const RATE: RangeInclusive<f64> = 0.001..=1_000_000.0;
/// `rate.burst`.
pub const BURST: RangeInclusive<u32> = 1..=1_000_000;
/// `retry.jitter`, as a share of each wait.
pub const JITTER: RangeInclusive<f64> = 0.0..=1.0;
/// `breaker.failures` and `breaker.min_events`.
pub const BREAKER_COUNT: RangeInclusive<u32> = 1..=10_000;
/// `breaker.cooldown` and `breaker.max_cooldown`.
pub const COOLDOWN: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);
/// `queue.max_items`.
pub const QUEUE_ITEMS: RangeInclusive<u64> = 1..=1_000_000_000;
/// `queue.max_bytes`.
pub const QUEUE_BYTES: RangeInclusive<u64> = 1..=1 << 50;
/// `drain`. Nothing at all cuts attempts off at once.
pub const DRAIN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
/// `dead_letters.max_items`. None at all means that every one falls off at once.
pub const DEAD_LETTERS: RangeInclusive<u64> = 0..=10_000_000;
/// `dead_letters.max_bytes`, up to 1 TiB.
pub const DEAD_LETTER_BYTES: RangeInclusive<u64> = 0..=(1 << 40);
/// `dead_letters.max_age`.
pub const DEAD_LETTER_AGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3650 * 86_400);

const MONTH: Duration = Duration::from_secs(30 * 86_400);
