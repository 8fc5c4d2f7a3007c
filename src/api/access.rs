//! Who may call the API.

use std::{fmt, time::Duration};

use actix_web::{HttpRequest, http::header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::{error, warn};

use super::{rights::Rights, token::admin_token};
use crate::{Hookmill, pipeline::Holder};

/// How long a body may take to arrive.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// Who may call the API: always a decision of the host, so there is no default.
#[derive(Clone)]
pub struct Access {
    who: Who,
    pub(super) read_deadline: Duration,
    pub(super) open_metrics: bool,
}

#[derive(Clone)]
enum Who {
    Tokens,
    Token(Key),
    Anybody,
}

impl Access {
    /// Whoever holds a token: the admin token in the data directory, see [`admin_token`], which is made if there is none and
    /// opens everything; or one of [`Hookmill::create_token`] or `POST /v1/tokens`, which opens what it says. A Hookmill
    /// without a data directory has no admin token.
    pub fn tokens() -> Self {
        Self::of(Who::Tokens)
    }

    /// Whoever holds this token, which opens everything. Only its SHA-256 is kept.
    pub fn token(token: impl Into<String>) -> Self {
        Self::of(Who::Token(Key::of(&token.into())))
    }

    /// Everybody who reaches the scope it is mounted in: the host guards that scope itself. Whoever gets through can read
    /// every event and have requests sent to addresses of his choice.
    pub fn unguarded() -> Self {
        Self::of(Who::Anybody)
    }

    /// Sets how long a request body may take to arrive, 10 s otherwise; then the answer is 408 and the connection closed.
    #[must_use]
    pub fn read_deadline(self, deadline: Duration) -> Self {
        Self { read_deadline: deadline, ..self }
    }

    /// Lets everybody read `/metrics` and `/metrics/endpoints`, as a Prometheus without a token does.
    #[must_use]
    pub fn open_metrics(self) -> Self {
        Self { open_metrics: true, ..self }
    }

    fn of(who: Who) -> Self {
        Self { who, read_deadline: READ_DEADLINE, open_metrics: false }
    }

    /// The guard in force for `hooks`.
    pub(super) fn guard(self, hooks: &Hookmill) -> Guard {
        match self.who {
            Who::Anybody => Guard::Open,
            Who::Token(key) => Guard::Key(key),
            Who::Tokens => Guard::Tokens(match hooks.data_dir().map(admin_token) {
                Some(Ok(admin)) => Ok(Key::of(&admin.token)),
                Some(Err(error)) => {
                    error!(event = "auth.denied", %error, "the admin token cannot be read: it opens nothing");
                    Err("the admin token of this server cannot be read, and there is no other of this kind")
                }
                None => {
                    warn!(event = "auth.denied", "without a data directory there is no admin token");
                    Err("there is no token like this: this server keeps everything in memory")
                }
            }),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match &self.who {
            Who::Tokens => "tokens",
            Who::Token(_) => "token",
            Who::Anybody => "unguarded",
        };
        f.debug_struct("Access").field("who", &who).field("read_deadline", &self.read_deadline).finish_non_exhaustive()
    }
}

/// The SHA-256 of a token.
#[derive(Clone)]
pub(super) struct Key([u8; 32]);

impl Key {
    fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// Decides on each call.
pub(super) enum Guard {
    Open,
    Key(Key),
    /// The tokens that were made, and the admin's; or why there is none.
    Tokens(Result<Key, &'static str>),
}

/// Why somebody does not get in.
pub(super) struct Refusal {
    pub(super) why: &'static str,
    /// A token was sent.
    pub(super) wrong: bool,
}

impl Guard {
    /// What `request` may.
    ///
    /// # Errors
    /// When it may nothing.
    pub(super) fn admit(&self, request: &HttpRequest, hooks: &Hookmill) -> Result<Rights, Refusal> {
        if matches!(self, Self::Open) {
            return Ok(Rights::all());
        }
        let Some(token) = bearer(request) else {
            let why = "send the header `Authorization: Bearer …` with a token of this server";
            return Err(Refusal { why: self.shut().unwrap_or(why), wrong: false });
        };
        self.rights(token, hooks).ok_or_else(|| {
            let why = self.shut().unwrap_or("the token is not one of this server, or no longer");
            Refusal { why, wrong: true }
        })
    }

    /// The rights of a token. Whole hashes are compared, in a time that tells nothing.
    fn rights(&self, token: &str, hooks: &Hookmill) -> Option<Rights> {
        let is = |key: &Key| bool::from(Key::of(token).0.ct_eq(&key.0));
        match self {
            Self::Open => Some(Rights::all()),
            Self::Key(key) => is(key).then(Rights::all),
            Self::Tokens(Ok(admin)) if is(admin) => Some(Rights::all()),
            Self::Tokens(_) => hooks.let_in(token).map(|Holder { scopes, tenant }| Rights { scopes, tenant }),
        }
    }

    /// Why not even an admin has a token.
    fn shut(&self) -> Option<&'static str> {
        if let Self::Tokens(Err(why)) = self { Some(why) } else { None }
    }
}

fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
