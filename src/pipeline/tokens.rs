//! Tokens that let callers of the API in: made here, kept as hashes, looked up without the store.

use std::{
    collections::BTreeMap,
    io,
    ops::RangeInclusive,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::info;

use super::{Hookmill, ManageError};
use crate::{
    clock::Timestamp,
    config::fields::{Field, Fields, read},
    error::{Invalid, StoreError},
    event::{Tenant, new_id},
    store::{Scope, Scopes, TokenId, TokenRow},
};

/// Tokens there may be.
const MOST: usize = 100_000;
/// Between two notes of a token's use.
const USED: Duration = Duration::from_secs(60);
/// What a token may expire in.
pub(crate) const LIFE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3650 * 24 * 3600);
/// Longest name, in bytes.
pub(crate) const NAME: usize = 128;
/// How a token begins; its id follows, without `tok_`, and its secret.
const TOKEN: &str = "hmk_";
const ID: &str = "tok";

/// A token that is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewToken {
    /// A name for people.
    pub name: Option<String>,
    /// What it opens; never empty.
    pub scopes: Scopes,
    /// Whose it is: it sees and changes nothing of others. Without one it sees everything.
    pub tenant: Option<Tenant>,
    /// From when on it opens nothing.
    pub expires_at: Option<Timestamp>,
}

impl NewToken {
    /// Reads a token: `scopes`, and `name`, `tenant`, `expires_at` or `expires_in` where they are given.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn parse(value: &Value, now: Timestamp) -> Result<Self, Invalid> {
        read(value, |fields| token(fields, now))
    }

    fn check(&self, now: Timestamp) -> Result<(), Invalid> {
        if self.scopes.is_empty() {
            return Err(Invalid::at("#/scopes", "must name one at least"));
        }
        if self.tenant.is_some() && self.scopes.contains(Scope::Metrics) {
            return Err(Invalid::at("#/scopes", "has \"metrics\", which are of all tenants: a tenant's token has not"));
        }
        if self.expires_at.is_some_and(|expiry| expiry <= now) {
            return Err(Invalid::at("#/expires_at", "has passed already"));
        }
        Ok(())
    }
}

fn token(fields: &mut Fields<'_>, now: Timestamp) -> Option<NewToken> {
    let name = fields.take("name").and_then(|field| field.label(NAME)).map(str::to_owned);
    let tenant = fields.take("tenant").and_then(|field| field.parse());
    let given = fields.require("scopes");
    let scopes = given.as_ref().and_then(|field| field.parsed::<Scope>(1..=Scope::ALL.len()));
    let (at, after) = (fields.take("expires_at"), fields.take("expires_in"));
    if let (Some(at), Some(_)) = (&at, &after) {
        at.fault("stands beside `expires_in`: give one of them");
    }
    let of_parts = |at: &Field<'_>| at.parse::<Timestamp>();
    let expires_at = at.as_ref().and_then(of_parts);
    let expires_in = after.and_then(|field| field.duration(LIFE)).map(|life| now.after(life));
    let token = NewToken { name, scopes: scopes?.into_iter().collect(), tenant, expires_at: expires_at.or(expires_in) };
    // Told with the other mistakes, at the same places.
    for fault in token.check(now).err().into_iter().flat_map(Vec::from) {
        match (fault.pointer.as_str(), &given, &at) {
            ("#/scopes", Some(field), _) | ("#/expires_at", _, Some(field)) => field.fault(fault.detail),
            _ => {}
        }
    }
    Some(token)
}

/// Who was let in by a token.
#[cfg_attr(not(feature = "api"), expect(dead_code, reason = "only the API lets callers in"))]
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) scopes: Scopes,
    pub(crate) tenant: Option<Tenant>,
}

/// Every token, by its id.
pub(crate) struct Keyring(RwLock<BTreeMap<TokenId, Arc<Known>>>);

struct Known {
    row: TokenRow,
    /// When its use was last noted, in milliseconds; the least there is before that.
    used: AtomicI64,
}

impl Known {
    fn of(row: TokenRow) -> Arc<Self> {
        let used = AtomicI64::new(row.last_used_at.map_or(i64::MIN, Timestamp::as_millis));
        Arc::new(Self { row, used })
    }

    fn row(&self) -> TokenRow {
        let used = self.used.load(Ordering::Relaxed);
        TokenRow { last_used_at: (used > i64::MIN).then(|| Timestamp::from_millis(used)), ..self.row.clone() }
    }

    /// Whether this use is to be noted; of several at once, one is.
    #[cfg_attr(not(feature = "api"), expect(dead_code, reason = "only the API lets callers in"))]
    fn note(&self, now: Timestamp) -> bool {
        let noted = self.used.load(Ordering::Relaxed);
        let due = noted == i64::MIN || now.since(Timestamp::from_millis(noted)) >= USED;
        due && self.used.compare_exchange(noted, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Keyring {
    pub(super) fn of(tokens: Vec<TokenRow>) -> Self {
        Self(RwLock::new(tokens.into_iter().map(|row| (row.id.clone(), Known::of(row))).collect()))
    }

    /// The key that `token` is for, if it has not expired. Its id is public, and finds it; the rest is compared in a time that
    /// tells nothing.
    #[cfg_attr(not(feature = "api"), expect(dead_code, reason = "only the API lets callers in"))]
    fn find(&self, token: &str, now: Timestamp) -> Option<Arc<Known>> {
        let (id, _) = token.strip_prefix(TOKEN)?.split_once('_')?;
        let id: TokenId = format!("{ID}_{id}").parse().ok()?;
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()?;
        let same = bool::from(hash(token).ct_eq(&known.row.hash));
        let lives = known.row.expires_at.is_none_or(|expiry| now < expiry);
        (same && lives).then_some(known)
    }

    fn all(&self) -> Vec<TokenRow> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.values().map(|known| known.row()).collect()
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn secret() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

impl Hookmill {
    /// Makes a token that lets callers of the API in, see `Access::tokens`. The text is told this once: only its SHA-256 is
    /// kept.
    ///
    /// # Errors
    /// When it names no scope, has expired, or is a tenant's and asks for `metrics`; when there are 100 000; when the store
    /// cannot be written.
    pub async fn create_token(&self, token: NewToken) -> Result<(String, TokenRow), ManageError> {
        let now = self.0.clock.now().wall;
        token.check(now)?;
        self.change(|hooks| async move { hooks.make_token(token, now).await }).await
    }

    async fn make_token(&self, token: NewToken, now: Timestamp) -> Result<(String, TokenRow), ManageError> {
        if self.0.keyring.all().len() >= MOST {
            return Err(ManageError::Conflict(format!("there are {MOST} tokens: delete those that nobody needs")));
        }
        let id = new_id(ID, now);
        let secret = secret().map_err(|error| StoreError::Failed(error.to_string()))?;
        let text = format!("{TOKEN}{}_{secret}", id.trim_start_matches("tok_"));
        let NewToken { name, scopes, tenant, expires_at } = token;
        let id: TokenId = id.parse().map_err(|_| StoreError::Failed("no id".to_owned()))?;
        let hash = hash(&text);
        let row = TokenRow { id, name, scopes, tenant, hash, created_at: now, expires_at, last_used_at: None };
        self.0.store.create_token(row.clone()).await?;
        let mut known = self.0.keyring.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(row.id.clone(), Known::of(row.clone()));
        info!(event = "token.created", token = %row.id, scopes = %row.scopes, "token made");
        Ok((text, row))
    }

    /// The tokens that were made, by id, also those that have expired.
    pub fn tokens(&self) -> Vec<TokenRow> {
        self.0.keyring.all()
    }

    /// Deletes a token: once this returns it opens nothing.
    ///
    /// # Errors
    /// When there is none, or the store cannot be written.
    pub async fn delete_token(&self, id: &TokenId) -> Result<(), ManageError> {
        let id = id.clone();
        self.change(|hooks| async move {
            let deleted = hooks.0.store.delete_token(id.clone()).await?;
            hooks.0.keyring.0.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
            if !deleted {
                return Err(ManageError::NotFound(format!("token {id}")));
            }
            info!(event = "token.deleted", token = %id, "token deleted");
            Ok(())
        })
        .await
    }

    /// Whom a token lets in, and notes, once a minute at most, that it was used: nobody waits for that.
    #[cfg(feature = "api")]
    pub(crate) fn let_in(&self, token: &str) -> Option<Holder> {
        let now = self.0.clock.now().wall;
        let known = self.0.keyring.find(token, now)?;
        let TokenRow { id, scopes, tenant, .. } = &known.row;
        if known.note(now) {
            let noted = self.0.store.use_token(id.clone(), now);
            self.0.arbiter.spawn(async move {
                let _failed = noted.await;
            });
        }
        Some(Holder { scopes: *scopes, tenant: tenant.clone() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn parse(value: &Value) -> Result<NewToken, Vec<String>> {
        let places = |invalid: Invalid| invalid.faults().iter().map(|fault| fault.pointer.clone()).collect();
        NewToken::parse(value, NOW).map_err(places)
    }

    #[test]
    fn a_token_says_what_it_opens_and_until_when() {
        let token = parse(&json!({"scopes": ["read", "publish"], "tenant": "acme", "name": "ci", "expires_in": "1h"}));
        let token = token.unwrap();
        assert_eq!(token.scopes.iter().collect::<Vec<_>>(), [Scope::Publish, Scope::Read]);
        assert_eq!(token.expires_at, Some(NOW.after(Duration::from_secs(3600))));
        let cases = [
            (json!({}), vec!["#/scopes"]),
            (json!({"scopes": []}), vec!["#/scopes"]),
            (json!({"scopes": ["write"], "tenant": "*", "name": ""}), vec!["#/name", "#/tenant", "#/scopes/0"]),
            (json!({"scopes": ["metrics"], "tenant": "acme"}), vec!["#/scopes"]),
            (json!({"scopes": ["read"], "expires_at": "1970-01-01T00:00:01Z"}), vec!["#/expires_at"]),
            (json!({"scopes": ["read"], "expires_in": "0s", "scope": 1}), vec!["#/expires_in", "#/scope"]),
            (
                json!({"scopes": ["read"], "expires_at": "2999-01-01T00:00:00Z", "expires_in": "1h"}),
                vec!["#/expires_at"],
            ),
        ];
        for (value, places) in cases {
            assert_eq!(parse(&value).unwrap_err(), places, "{value}");
        }
    }

    #[test]
    fn a_key_opens_with_its_whole_token_until_it_expires() {
        let text = "hmk_0a_sec_ret";
        let row = |expires_at| TokenRow {
            id: "tok_0a".parse().unwrap(),
            name: None,
            scopes: Scopes::all(),
            tenant: None,
            hash: hash(text),
            created_at: NOW,
            expires_at,
            last_used_at: None,
        };
        let opens = |token: &str, expires_at| Keyring::of(vec![row(expires_at)]).find(token, NOW).is_some();
        assert!(opens(text, None) && opens(text, Some(NOW.after(Duration::from_millis(1)))));
        assert!(!opens(text, Some(NOW)), "at the moment it expires it opens nothing");
        for other in
            ["", "hmk_", "hmk_0a", "hmk_0a_", "hmk_0a_sec_re", "hmk_0a_sec_rett", "0a_sec_ret", "hmk_0b_sec_ret"]
        {
            assert!(!opens(other, None), "{other}");
        }
    }

    #[test]
    fn a_use_is_noted_once_a_minute() {
        let keyring = Keyring::of(vec![TokenRow {
            id: "tok_0a".parse().unwrap(),
            name: None,
            scopes: Scopes::all(),
            tenant: None,
            hash: hash("hmk_0a_s"),
            created_at: NOW,
            expires_at: None,
            last_used_at: None,
        }]);
        let known = keyring.find("hmk_0a_s", NOW).unwrap();
        let after = |seconds| NOW.after(Duration::from_secs(seconds));
        let noted = [0, 0, 59, 60, 61, 119, 120].map(|seconds| known.note(after(seconds)));
        assert_eq!(noted, [true, false, false, true, false, false, true]);
        assert_eq!(keyring.all()[0].last_used_at, Some(after(120)));
    }
}
