//! Random bytes for ids.

use std::cell::RefCell;

/// Of one id.
const EACH: usize = 10;
/// Ids for which the system is asked at once: asking costs more than the rest of an id.
const TOGETHER: usize = 64;

struct Supply {
    bytes: [u8; EACH * TOGETHER],
    left: usize,
}

thread_local! {
    static SUPPLY: RefCell<Supply> = const { RefCell::new(Supply { bytes: [0; EACH * TOGETHER], left: 0 }) };
}

/// Fresh random bytes of the system; where it has none, of a generator that can be guessed.
pub(super) fn bytes() -> [u8; EACH] {
    SUPPLY.with_borrow_mut(|supply| {
        if supply.left == 0 {
            if getrandom::fill(&mut supply.bytes).is_err() {
                fastrand::fill(&mut supply.bytes);
            }
            supply.left = TOGETHER;
        }
        supply.left -= 1;
        supply.bytes.as_chunks().0.get(supply.left).copied().unwrap_or_default()
    })
}
