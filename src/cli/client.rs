//! The HTTP client of the commands.

use std::{env, fs, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use awc::{
    Client, Connector,
    error::SendRequestError,
    http::{Method, header::CONTENT_TYPE},
};
use bytes::Bytes;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;
use serde_json::Value;

use super::{Connection, Failed};

/// Speaks to one server.
pub(super) struct Api {
    client: Client,
    base: String,
    token: String,
}

/// Answers of our own API are small; anything larger is not one.
const ANSWER: usize = 16 << 20;

/// Bytes of an answer of somebody else's that are shown.
const SHOWN: usize = 200;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

impl Api {
    /// Speaks plain HTTP, to a server on this machine.
    pub(super) fn new(base: impl Into<String>, token: impl Into<String>) -> Self {
        Self::with(None, base, token)
    }

    fn with(tls: Option<ClientConfig>, base: impl Into<String>, token: impl Into<String>) -> Self {
        let connector = Connector::new();
        let connector = match tls {
            Some(tls) => connector.rustls_0_23(Arc::new(tls)),
            None => connector,
        };
        let client = Client::builder().connector(connector).disable_redirects().timeout(PATIENCE).finish();
        Self { client, base: base.into().trim_end_matches('/').to_owned(), token: token.into() }
    }

    /// The server that the options name, with the first token found.
    pub(super) fn connect(connection: &Connection) -> Result<Self, Failed> {
        let token = match (&connection.token_file, env::var("HOOKMILL_TOKEN")) {
            (None, Ok(token)) => token,
            (file, _) => {
                let path = file.clone().unwrap_or_else(|| connection.data_dir.join("admin.token"));
                let none = |error| Failed::new(4, format!("no token: {}: {error}", path.display()));
                fs::read_to_string(&path).map_err(none)?
            }
        };
        let secure = connection.url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
        let tls = secure.then(|| tls(connection.ca.as_deref())).transpose()?;
        Ok(Self::with(tls, &connection.url, token.trim()))
    }

    /// What lets us in.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failed> {
        self.call(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failed> {
        self.call(Method::POST, path, Some(body.to_string())).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<Value, Failed> {
        self.call(Method::PUT, path, Some(body.to_string())).await
    }

    pub(super) async fn call(&self, method: Method, path: &str, body: Option<String>) -> Result<Value, Failed> {
        self.exchange(method, path, body, PATIENCE).await?.json()
    }

    /// Deletes what is at `path`; the answer has no content.
    pub(super) async fn delete(&self, path: &str) -> Result<(), Failed> {
        let answer = self.exchange(Method::DELETE, path, None, PATIENCE).await?;
        if answer.status == 204 { Ok(()) } else { Err(answer.unexpected()) }
    }

    /// The same, with the answer as it came, which may take so long.
    pub(super) async fn call_raw(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        patience: Duration,
    ) -> Result<Bytes, Failed> {
        Ok(self.exchange(method, path, body, patience).await?.body)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        patience: Duration,
    ) -> Result<Answer, Failed> {
        let request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        let request = request.timeout(patience);
        let sent = match body {
            Some(body) => request.content_type("application/json").send_body(body).await,
            None => request.send().await,
        };
        let mut response = sent.map_err(|error| self.unreachable(&error))?;
        let body = response.body().limit(ANSWER).await.map_err(|error| Failed::new(3, error.to_string()))?;
        let content_type = response.headers().get(CONTENT_TYPE).map(|value| value.as_bytes().to_vec());
        match response.status().as_u16() {
            status @ 200..=299 => Ok(Answer { status, content_type: content_type.unwrap_or_default(), body }),
            status => Err(refused(status, &serde_json::from_slice(&body).unwrap_or_default())),
        }
    }

    fn unreachable(&self, error: &SendRequestError) -> Failed {
        Failed::new(3, format!("no server at {}: {error}", self.base))
    }
}

/// An answer that is no refusal. Whether Hookmill has made it is still to be seen.
struct Answer {
    status: u16,
    content_type: Vec<u8>,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Result<Value, Failed> {
        serde_json::from_slice(&self.body).map_err(|_| self.unexpected())
    }

    fn unexpected(&self) -> Failed {
        let text = |bytes: &[u8]| super::printable(&String::from_utf8_lossy(bytes));
        let (status, kind) = (self.status, text(&self.content_type));
        let begin = text(self.body.get(..SHOWN).unwrap_or(&self.body));
        Failed::new(1, format!("this is no answer of Hookmill: {status}, content type \"{kind}\", body \"{begin}\""))
    }
}

/// TLS to servers that `ca` vouches for, or the system.
fn tls(ca: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = match ca {
        None => builder.with_platform_verifier()?,
        Some(ca) => {
            let named = || format!("cannot use the certificates in {}", ca.display());
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(ca).with_context(named)? {
                roots.add(certificate.with_context(named)?).with_context(named)?;
            }
            builder.with_root_certificates(roots)
        }
    };
    let mut tls = builder.with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

/// What a problem (RFC 9457) says, and the exit code for it.
fn refused(status: u16, problem: &Value) -> Failed {
    let code = match status {
        401 | 403 => 4,
        404 => 5,
        409 | 412 => 6,
        _ => 1,
    };
    let text = |name| problem.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut message = format!("{status} {}: {}", text("title"), text("detail"));
    for error in problem.get("errors").and_then(Value::as_array).into_iter().flatten() {
        let text = |name| error.get(name).and_then(Value::as_str).unwrap_or_default();
        message.push_str(&format!("\n  {}: {}", text("pointer"), text("detail")));
    }
    Failed::new(code, super::printable(&message).replace("\\n  #", "\n  #"))
}
