//! What is sent.

use awc::{
    Client, ClientRequest,
    http::{
        Method,
        header::{HeaderMap, HeaderName, HeaderValue},
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use url::{Position, Url};

use crate::{
    endpoint::{Auth, HeaderPrefix, Signing, settings::is_reserved},
    transport::{Attempt, Failure, FailureKind, body::Rendered, signature},
};

const USER_AGENT: &str = concat!("hookmill/", env!("CARGO_PKG_VERSION"));

/// The request of an attempt that carries `rendered`, and its body. Of headers with the same name, the last in this order is sent: content type,
/// the endpoint's own, the format's, credentials, the count of a batch, signature.
///
/// # Errors
/// [`FailureKind::Internal`] when the settings hold what HTTP cannot carry, which no validated ones do.
pub(super) fn build(client: &Client, attempt: &Attempt, rendered: Rendered) -> Result<(ClientRequest, Bytes), Failure> {
    let settings = &attempt.endpoint.settings;
    let method = Method::from_bytes(settings.method.as_bytes()).map_err(|_| internal("method"))?;
    let url = settings.target.url().ok_or_else(|| internal("target"))?;
    let Rendered { content_type, headers: of_format, body } = rendered;
    let mut request = client.request(method, url.as_str()).no_decompress();
    let headers = request.headers_mut();
    set(headers, "host", authority(url))?;
    set(headers, "user-agent", USER_AGENT)?;
    set(headers, "content-type", &content_type)?;
    for (name, value) in &settings.headers {
        if !is_reserved(&name.to_ascii_lowercase()) {
            set(headers, name, value)?;
        }
    }
    for (name, value) in &of_format {
        set(headers, name, value)?;
    }
    if let Some(auth) = &settings.auth {
        set(headers, "authorization", &credentials(auth))?;
    }
    if let Some(name) = settings.policy.batch.as_ref().and_then(|batch| batch.count_header.as_deref()) {
        set(headers, name, &attempt.events.len().to_string())?;
    }
    let id = attempt.message_id();
    let [id_name, timestamp_name, signature_name] = match &settings.signing {
        Signing::Standard(standard) => signature::names(standard.header_prefix),
        Signing::Hmac(_) | Signing::None => signature::names(HeaderPrefix::Webhook),
    };
    set(headers, id_name, &id)?;
    set(headers, timestamp_name, &attempt.at.as_seconds().to_string())?;
    match &settings.signing {
        Signing::Standard(standard) => {
            let signatures = signature::sign(standard.keys_at(attempt.at), &id, attempt.at, &body);
            set(headers, signature_name, &signatures)?;
        }
        Signing::Hmac(hmac) => {
            let secret = hmac.secret.as_ref().ok_or_else(|| internal("secret"))?;
            let code = signature::plain(secret, hmac.encoding, &body);
            set(headers, &hmac.header, &format!("{}{code}", hmac.prefix))?;
        }
        Signing::None => {}
    }
    Ok((request, body))
}

/// Host and port as the URL has them; awc would leave out port 80 of https and 443 of http.
fn authority(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

fn credentials(auth: &Auth) -> String {
    match auth {
        Auth::Bearer(token) => format!("Bearer {token}"),
        Auth::Basic { user, password } => format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))),
        Auth::Verbatim(value) => value.clone(),
    }
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Failure> {
    let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| internal(name))?;
    headers.insert(key, HeaderValue::from_str(value).map_err(|_| internal(name))?);
    Ok(())
}

/// Names the place only: values may be secrets.
fn internal(place: &str) -> Failure {
    Failure::new(FailureKind::Internal, format!("{place} of the endpoint cannot be sent over HTTP"))
}
