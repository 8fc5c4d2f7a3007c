//! Who may call the API.

use std::{fmt, time::Duration};

use actix_web::{HttpRequest, http::header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::{error, warn};

use super::{
    problem::{Kind, Problem},
    token::admin_token,
};
use crate::Hookmill;

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
    /// Whoever holds the admin token in the data directory, see [`admin_token`]; it is made if there is none. A Hookmill
    /// without a data directory has no token: every guarded call answers 401 then.
    pub fn tokens() -> Self {
        Self::of(Who::Tokens)
    }

    /// Whoever holds this token. Only its SHA-256 is kept.
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
            Who::Tokens => match hooks.data_dir().map(admin_token) {
                Some(Ok(admin)) => Guard::Key(Key::of(&admin.token)),
                Some(Err(error)) => {
                    error!(event = "auth.denied", %error, "the admin token cannot be read: every call is refused");
                    Guard::Shut("the admin token of this server cannot be read")
                }
                None => {
                    warn!(event = "auth.denied", "without a data directory there is no token: every call is refused");
                    Guard::Shut("there is no token: this server keeps everything in memory")
                }
            },
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
    /// Nobody gets in, for this reason.
    Shut(&'static str),
}

impl Guard {
    /// Whether `request` brings what is asked for.
    ///
    /// # Errors
    /// The problem to answer with.
    pub(super) fn admit(&self, request: &HttpRequest) -> Result<(), Problem> {
        let denied = match self {
            Self::Open => return Ok(()),
            Self::Shut(reason) => reason,
            Self::Key(key) => match bearer(request) {
                None => "send the header `Authorization: Bearer …` with a token of this server",
                Some(token) if bool::from(Key::of(token).0.ct_eq(&key.0)) => return Ok(()),
                Some(_) => "the token is not one of this server",
            },
        };
        let peer = request.peer_addr().map(|peer| peer.ip().to_string());
        warn!(event = "auth.denied", method = %request.method(), path = request.path(), peer, "call refused");
        Err(Problem::new(Kind::Unauthorized, denied))
    }
}

fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
