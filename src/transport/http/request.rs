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
    endpoint::{Auth, Signing, settings::is_reserved},
    transport::{
        Attempt, Failure, FailureKind,
        body::{self, Rendered},
        signature,
    },
};

const USER_AGENT: &str = concat!("hookmill/", env!("CARGO_PKG_VERSION"));

/// The request of an attempt and its body. Of headers with the same name, the last in this order is sent: content type,
/// the endpoint's own, the format's, credentials, signature.
///
/// # Errors
/// As for [`body::render`]; [`FailureKind::Internal`] when the settings hold what HTTP cannot carry, which no validated
/// ones do.
pub(super) fn build(client: &Client, attempt: &Attempt) -> Result<(ClientRequest, Bytes), Failure> {
    let settings = &attempt.endpoint.settings;
    let method = Method::from_bytes(settings.method.as_bytes()).map_err(|_| internal("method"))?;
    let url = settings.target.url().ok_or_else(|| internal("target"))?;
    let Rendered { content_type, headers: of_format, body } = body::render(attempt.event(), settings)?;
    let mut request = client.request(method, url.as_str()).no_decompress();
    let headers = request.headers_mut();
    set(headers, "host", authority(url))?;
    set(headers, "user-agent", USER_AGENT)?;
    set(headers, "content-type", content_type)?;
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
    set(headers, signature::ID, attempt.event().id.as_str())?;
    set(headers, signature::TIMESTAMP, &attempt.at.as_seconds().to_string())?;
    if let Signing::Standard(secrets) = &settings.signing {
        let signatures = signature::sign(secrets, attempt.event().id.as_str(), attempt.at, &body);
        set(headers, signature::SIGNATURE, &signatures)?;
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
