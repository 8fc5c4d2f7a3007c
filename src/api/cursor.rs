//! Where a page of a list ended: what `next` answers, and `cursor` brings back.
//!
//! It holds the position itself, not the name of a row, so a list goes on from there whatever was deleted meanwhile. Positions
//! count what all tenants have. So they are sealed, for everybody alike: nobody can read one or make one up, and each is good for
//! the tenant and the list that it was made for alone.

use std::{fmt::Display, str::FromStr};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{
    call::Call,
    problem::{Kind, Problem},
};
use crate::{event::Tenant, store::SealingKey};

/// What a position is filled up to: how long a cursor is must not tell how large a seq is. None of a row is longer; names may be.
const LENGTH: usize = 96;

/// The cursors of one list, for one tenant or for those who see all.
pub(super) struct Cursors<'a> {
    key: &'a SealingKey,
    context: String,
}

impl<'a> Cursors<'a> {
    /// Those of the list at `path`.
    pub(super) fn of(key: &'a SealingKey, tenant: Option<&Tenant>, path: &str) -> Self {
        let tenant = tenant.map_or("", Tenant::as_str);
        Self { key, context: format!("hookmill 1\0cursor\0{tenant}\0{path}") }
    }

    /// A cursor for the page after `position`.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub(super) fn seal(&self, position: impl Display) -> Result<String, Problem> {
        let position = format!("{:LENGTH$}", position.to_string());
        let sealed = self.key.seal(&self.context, &position);
        let sealed = sealed.ok_or_else(|| Problem::new(Kind::Internal, "no randomness to seal a cursor"))?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The position that was sealed here.
    pub(super) fn open<P: FromStr>(&self, cursor: &str) -> Option<P> {
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
        self.key.open(&self.context, &sealed)?.trim_end().parse().ok()
    }
}

impl Call {
    /// The cursors of the list that is asked for.
    pub(super) fn cursors(&self) -> Cursors<'_> {
        Cursors::of(&self.hooks().0.cursor_key, self.tenant(), self.request.match_info().as_str())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::{
        Timestamp,
        clock::Clock,
        endpoint::EndpointKey,
        store::{AttemptPlace, DeliveryId, Store, memory::MemoryStore},
    };

    /// A new one.
    pub(in crate::api) fn key() -> SealingKey {
        MemoryStore::new(Clock::system()).cursor_key().now_or_never().unwrap().unwrap()
    }

    fn reads_back<P: Display + FromStr + PartialEq + Copy>(cursors: &Cursors<'_>, position: P) -> usize {
        let cursor = cursors.seal(position).ok().unwrap();
        assert!(cursors.open::<P>(&cursor) == Some(position), "{position}");
        cursor.len()
    }

    #[test]
    fn the_length_of_a_cursor_tells_nothing() {
        let key = key();
        let cursors = Cursors::of(&key, None, "/v1/events");
        let lengths = [(0, 0, 0, 0), (u64::MAX, i64::MAX, u32::MAX, i64::MIN)].map(|(seq, endpoint, number, at)| {
            let delivery = DeliveryId { seq, endpoint: EndpointKey(endpoint), run: number };
            let attempt = AttemptPlace { at: Timestamp::from_millis(at), delivery, number };
            [reads_back(&cursors, seq), reads_back(&cursors, delivery), reads_back(&cursors, attempt)]
        });
        assert_eq!(lengths, [[166; 3]; 2]);
    }

    #[test]
    fn a_cursor_is_good_where_it_was_made() {
        let (key, another) = (key(), key());
        let (acme, globex) = ("acme".parse().unwrap(), "globex".parse().unwrap());
        let cursors = Cursors::of(&key, Some(&acme), "/v1/events");
        let cursor = cursors.seal(7).ok().unwrap();
        assert_ne!(cursors.seal(7).ok().unwrap(), cursor);
        assert_eq!(cursors.open(&cursor), Some(7));
        for other in [
            Cursors::of(&another, Some(&acme), "/v1/events"),
            Cursors::of(&key, Some(&globex), "/v1/events"),
            Cursors::of(&key, None, "/v1/events"),
            Cursors::of(&key, Some(&acme), "/v1/dead-letters"),
        ] {
            assert_eq!(other.open::<u64>(&cursor), None, "{}", other.context);
        }
    }
}
