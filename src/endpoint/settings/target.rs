//! `url` or `file`, and what stands beside a URL alone.

use url::Url;

use super::{Files, Judge, limits};
use crate::{
    config::fields::{Field, Fields},
    endpoint::{FilePath, LogFile, Rotation, Target, format::Format, policy::Guard},
};

/// Settings that mean something for requests alone: an endpoint with a `file` has none of them.
pub(crate) const OF_REQUESTS: [&str; 7] = ["method", "headers", "auth", "signing", "secret", "success", "guard"];
/// Settings that mean something for files alone.
pub(super) const OF_FILES: [&str; 1] = ["rotate"];

/// The guard is unknown when it was mistaken; then the address is not judged.
pub(super) fn target(
    fields: &mut Fields<'_>,
    files: Files,
    guard: Option<Guard>,
    judge: &impl Judge,
) -> Option<Target> {
    match (fields.take("url"), fields.take("file")) {
        (Some(url_field), None) => {
            refuse(fields, &OF_FILES, "has no use with `url`: only files rotate");
            url(&url_field, guard, judge).map(Target::Http)
        }
        (None, Some(field)) => {
            refuse(fields, &OF_REQUESTS, "has no use with `file`: nothing is requested");
            file(&field, files, fields.take("rotate")).map(Target::File)
        }
        (Some(url), Some(file)) => {
            url.fault("stands beside `file`: give one of them");
            file.fault("stands beside `url`: give one of them");
            None
        }
        (None, None) => {
            fields.allow(&OF_FILES);
            let _missing = fields.require("url");
            None
        }
    }
}

fn refuse(fields: &mut Fields<'_>, names: &[&'static str], why: &str) {
    for field in names.iter().filter_map(|name| fields.take(name)) {
        field.fault(why);
    }
}

fn url(field: &Field<'_>, guard: Option<Guard>, judge: &impl Judge) -> Option<Url> {
    let url = Url::parse(field.text()?).map_err(|error| field.fault(format!("is not a URL: {error}"))).ok()?;
    match broken_rule(&url) {
        Some(rule) => field.fault(rule),
        None => {
            if let Some(Err(reason)) = guard.map(|guard| judge(&url, guard)) {
                field.fault(reason);
            }
        }
    }
    Some(url)
}

fn broken_rule(url: &Url) -> Option<&'static str> {
    let rules = [
        (matches!(url.scheme(), "http" | "https"), "must start with http:// or https://"),
        (url.has_host(), "must name a host"),
        (url.username().is_empty() && url.password().is_none(), "must hold no user info; use `auth`"),
        (url.fragment().is_none(), "must hold no fragment (`#…`): it would never be sent"),
        (url.port() != Some(0), "must have a port from 1 to 65535"),
        (url.as_str().len() <= limits::MAX_URL_BYTES, "must be 2048 bytes at most"),
    ];
    rules.iter().find(|(holds, _)| !holds).map(|(_, rule)| *rule)
}

fn file(field: &Field<'_>, files: Files, rotate: Option<Field<'_>>) -> Option<LogFile> {
    let path: Option<FilePath> = field.parse();
    if let Some(Err(rule)) = path.as_ref().map(|path| files.allow(path)) {
        field.fault(rule);
    }
    let rotate = rotate.map(|field| field.object(rotation));
    Some(LogFile { path: path?, rotate: rotate.flatten() })
}

fn rotation(fields: &mut Fields<'_>) -> Option<Rotation> {
    let max_bytes = fields.require("max_bytes").and_then(|field| field.whole(limits::ROTATE_BYTES));
    let keep = fields.require("keep").and_then(|field| field.whole(limits::ROTATE_KEEP));
    Some(Rotation { max_bytes: max_bytes?, keep: keep? })
}

/// A line has a body and no headers.
pub(super) fn format(field: &Field<'_>, to_file: bool) -> Option<Format> {
    let format = Format::read(field)?;
    if to_file && format == Format::CloudEventsBinary {
        field.fault("needs headers, which a file has not: use \"cloudevents\"");
    }
    Some(format)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        endpoint::{
            Origin, Settings, Signing,
            settings::laws::{parse, places},
        },
        error::Invalid,
    };

    const API: Origin = Origin::Api { allow_loopback: false, file_root: true };

    fn by(origin: Origin, value: &Value) -> Result<Settings, Invalid> {
        Settings::parse(value, origin, |_: &_, _| Ok(()))
    }

    #[test]
    fn urls_that_could_mean_something_else_are_refused() {
        let long = format!("https://a.b/{}", "x".repeat(limits::MAX_URL_BYTES));
        let urls = [
            "",
            "a.b",
            "/hook",
            "file:///etc/passwd",
            "https://",
            "https://u@a.b",
            "https://u:p@a.b",
            "https://:p@a.b",
            "https://a.b/#x",
            "https://a.b:0/",
            "https://a.b:65536/",
            "https://a b/",
            &long,
        ];
        for url in urls {
            assert_eq!(places(parse(&json!({"url": url}))), ["#/url"], "{url}");
        }
        assert_eq!(places(parse(&json!({}))), ["#/url"]);
    }

    #[test]
    fn a_file_is_enough_and_is_never_signed() {
        let settings = parse(&json!({"file": "/var/log/a.jsonl"})).unwrap().with_generated_secret().unwrap();
        let file = settings.target.file().unwrap();
        assert_eq!((file.path.as_str(), file.rotate), ("/var/log/a.jsonl", None));
        assert_eq!(settings.signing, Signing::None);
        let rotated = json!({"file": "/a", "rotate": {"max_bytes": 4096, "keep": 2}});
        let rotate = parse(&rotated).unwrap().target.file().unwrap().rotate;
        assert_eq!(rotate, Some(Rotation { max_bytes: 4096, keep: 2 }));
    }

    #[test]
    fn a_url_or_a_file_but_not_both() {
        assert_eq!(places(parse(&json!({"url": "https://a.b/", "file": "/a"}))), ["#/url", "#/file"]);
        assert_eq!(places(parse(&json!({"url": null, "file": null}))), ["#/url"]);
        assert!(parse(&json!({"url": null, "file": "/a"})).is_ok());
    }

    #[test]
    fn what_one_kind_of_target_has_no_use_for_is_refused() {
        let settings = json!({
            "file": "/a", "method": "PUT", "headers": {}, "auth": {"type": "none"}, "signing": {"type": "none"},
            "secret": "x", "success": "2xx", "guard": "public", "format": "cloudevents_binary"
        });
        let mut found = places(parse(&settings));
        found.sort();
        let mut expected: Vec<_> = OF_REQUESTS.iter().chain(&["format"]).map(|name| format!("#/{name}")).collect();
        expected.sort();
        assert_eq!(found, expected);
        assert_eq!(places(parse(&json!({"url": "https://a.b/", "rotate": {}}))), ["#/rotate"]);
        for (rotate, place) in [
            (json!({"keep": 1}), "#/rotate/max_bytes"),
            (json!({"max_bytes": 4096}), "#/rotate/keep"),
            (json!({"max_bytes": 4095, "keep": 1}), "#/rotate/max_bytes"),
            (json!({"max_bytes": 4096, "keep": 0}), "#/rotate/keep"),
            (json!({"max_bytes": 4096, "keep": 1, "after": "1d"}), "#/rotate/after"),
        ] {
            assert_eq!(places(parse(&json!({"file": "/a", "rotate": rotate}))), [place], "{rotate}");
        }
    }

    #[test]
    fn the_api_names_files_below_the_root_and_nobody_else_does() {
        for path in ["a.jsonl", "acme/a.jsonl"] {
            let value = json!({"file": path});
            assert!(by(API, &value).is_ok(), "{path}");
            for origin in [Origin::Code, Origin::Operator, Origin::Api { allow_loopback: true, file_root: false }] {
                assert_eq!(places(by(origin, &value)), ["#/file"], "{path}");
            }
        }
        for path in ["/a.jsonl", "../a.jsonl", "a/../../b", "a//b", "", "a/", "a\0"] {
            assert_eq!(places(by(API, &json!({"file": path}))), ["#/file"], "{path}");
        }
        let absolute = json!({"file": "/var/log/a.jsonl"});
        assert!(by(Origin::Code, &absolute).is_ok() && by(Origin::Operator, &absolute).is_ok());
    }

    #[test]
    fn what_the_store_holds_is_read_whoever_the_endpoint_belongs_to_now() {
        for path in ["/var/log/a.jsonl", "a.jsonl"] {
            for origin in [Origin::Code, Origin::Api { allow_loopback: false, file_root: false }] {
                assert!(Settings::restore(&json!({"file": path}), origin).is_ok());
            }
        }
    }
}
