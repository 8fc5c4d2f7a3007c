//! Bodies of an endpoint's own: see [`Part`] for what each part means.

mod lookup;
mod merge;

use serde_json::{Map, Value};

use super::MAX_BODY_BYTES;
use crate::{
    endpoint::format::Part,
    event::pointer::{View, quoted},
};
use lookup::plain_text;

/// The body would be longer than [`MAX_BODY_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// The body of the event of `view`, for an endpoint with this metadata. A map whose outermost part comes out empty gives
/// `{}`.
pub(super) fn write<'a>(map: &Part, view: View<'a>, metadata: &'a Map<String, Value>) -> Result<String, TooLong> {
    let body = Writer { view, metadata }.text(map)?;
    Ok(body.unwrap_or_else(|| "{}".to_owned()))
}

/// What parts are written from.
struct Writer<'a> {
    view: View<'a>,
    metadata: &'a Map<String, Value>,
}

/// Whether anything was written.
type Written = Result<bool, TooLong>;

impl Writer<'_> {
    /// `part` on its own, `None` when it is empty.
    fn text(&self, part: &Part) -> Result<Option<String>, TooLong> {
        let mut out = String::new();
        Ok(self.part(part, &mut out)?.then_some(out))
    }

    fn part(&self, part: &Part, out: &mut String) -> Written {
        match part {
            Part::Literal(value) => push(out, &value.to_string()),
            Part::Object(members) => self.object(members, out),
            Part::Array(parts) => self.array(parts, out),
            Part::Lookup(lookup) => match (self.found(lookup), &lookup.default) {
                (Some(json), _) => push(out, &json),
                (None, Some(default)) => self.part(default, out),
                (None, None) => Ok(false),
            },
            Part::Merge(parts) => self.merged(parts, out),
            Part::Concat(parts) => self.concatenated(parts, out),
        }
    }

    fn object(&self, members: &[(String, Part)], out: &mut String) -> Written {
        push(out, "{")?;
        let mut first = true;
        for (name, part) in members {
            let before = out.len();
            push(out, if first { "" } else { "," })?;
            push(out, &quoted(name))?;
            push(out, ":")?;
            if self.part(part, out)? { first = false } else { out.truncate(before) }
        }
        push(out, "}")
    }

    fn array(&self, parts: &[Part], out: &mut String) -> Written {
        push(out, "[")?;
        let mut first = true;
        for part in parts {
            let before = out.len();
            push(out, if first { "" } else { "," })?;
            if self.part(part, out)? { first = false } else { out.truncate(before) }
        }
        push(out, "]")
    }

    fn concatenated(&self, parts: &[Part], out: &mut String) -> Written {
        let mut whole = String::new();
        for part in parts {
            let Some(text) = self.text(part)?.and_then(|json| plain_text(&json)) else { return Ok(false) };
            push(&mut whole, &text)?;
        }
        push(out, &quoted(&whole))
    }
}

fn push(out: &mut String, text: &str) -> Written {
    if out.len() + text.len() > MAX_BODY_BYTES {
        return Err(TooLong);
    }
    out.push_str(text);
    Ok(true)
}
