//! The requests of the load: written once, of which each sending changes the numbers only.

use super::wire;

/// Digits of an event's number and of its group.
const DIGITS: usize = 10;
/// In front of an event's number, in its data.
const MARK: &[u8] = br#"{"n":""#;
/// The least data that has room for a number.
pub(super) const MIN_SIZE: usize = 32;

/// Events as one publish holds them.
pub(super) struct Template {
    /// Up to the length of the body.
    head: String,
    /// One event.
    line: Vec<u8>,
    group_at: Option<usize>,
    number_at: usize,
}

impl Template {
    /// A publish of events with so many bytes of data, whose topics are `topic.` and the number of a group.
    pub(super) fn publish(path: &str, headers: &[(&str, &str)], topic: &str, size: usize) -> Self {
        let before = format!(r#"{{"topic":"{topic}."#);
        let line = format!("{before}{:0DIGITS$}\",\"data\":{}}}\n", 0, data(size));
        Self::new(path, headers, line, Some(before.len()))
    }

    /// A request like a delivery, with the data alone.
    pub(super) fn raw(path: &str, headers: &[(&str, &str)], size: usize) -> Self {
        Self::new(path, headers, data(size), None)
    }

    fn new(path: &str, headers: &[(&str, &str)], line: String, group_at: Option<usize>) -> Self {
        let line = line.into_bytes();
        let number_at = find(&line, MARK).unwrap_or(0) + MARK.len();
        Self { head: wire::head(path, headers), line, group_at, number_at }
    }

    /// Writes a request with these events, each with its group, in place of what `request` holds.
    pub(super) fn write(&self, events: impl ExactSizeIterator<Item = (usize, usize)>, request: &mut Vec<u8>) {
        request.clear();
        request.extend_from_slice(self.head.as_bytes());
        request.extend_from_slice((events.len() * self.line.len()).to_string().as_bytes());
        request.extend_from_slice(b"\r\n\r\n");
        for (event, group) in events {
            let start = request.len();
            request.extend_from_slice(&self.line);
            put(request, start + self.number_at, event);
            if let Some(at) = self.group_at {
                put(request, start + at, group);
            }
        }
    }
}

/// The name of a group in a topic.
pub(super) fn group_name(group: usize) -> String {
    format!("{group:0DIGITS$}")
}

fn data(size: usize) -> String {
    let (before, after) = (format!("{{\"n\":\"{:0DIGITS$}\",\"fill\":\"", 0), "\"}");
    let fill: String =
        "0123456789abcdef".chars().cycle().take(size.saturating_sub(before.len() + after.len())).collect();
    format!("{before}{fill}{after}")
}

fn put(bytes: &mut [u8], at: usize, number: usize) {
    let mut rest = number;
    for digit in bytes.iter_mut().skip(at).take(DIGITS).rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
}

/// The numbers of the events that a body holds, each of which has so many bytes of data.
pub(super) fn numbers(body: &[u8], size: usize) -> impl Iterator<Item = usize> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + find(body.get(at..)?, MARK)? + MARK.len();
        let number = str::from_utf8(body.get(start..start + DIGITS)?).ok()?.parse().ok()?;
        at = start - MARK.len() + size;
        Some(number)
    })
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn body(request: &[u8]) -> &[u8] {
        &request[find(request, b"\r\n\r\n").unwrap() + 4..]
    }

    #[test]
    fn each_sending_differs_in_its_numbers_alone() {
        let template = Template::publish("/v1/events", &[("host", "here")], "bench.a", 100);
        let mut request = b"what was there before".to_vec();
        template.write([(7, 1), (1_234_567, 0)].into_iter(), &mut request);
        let text = str::from_utf8(&request).unwrap();
        assert!(text.starts_with("POST /v1/events HTTP/1.1\r\nhost: here\r\ncontent-length: "), "{text}");
        let body = body(&request);
        assert!(text.contains(&format!("content-length: {}\r\n", body.len())));
        let lines: Vec<Value> =
            body.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        assert_eq!(
            lines.iter().map(|line| &line["topic"]).collect::<Vec<_>>(),
            ["bench.a.0000000001", "bench.a.0000000000"]
        );
        assert!(lines.iter().all(|line| line["data"].to_string().len() == 100));
        assert_eq!(numbers(body, 100).collect::<Vec<_>>(), [7, 1_234_567]);
    }

    #[test]
    fn numbers_are_found_in_what_others_have_wrapped() {
        let event = |n: usize| format!(r#"{{"type":"bench.a","data":{{"n":"{n:010}","fill":"x"}}}}"#);
        let batch = format!("[{},{}]", event(3), event(4));
        assert_eq!(numbers(batch.as_bytes(), MIN_SIZE).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(numbers(b"{}", MIN_SIZE).count(), 0);
        assert_eq!(numbers(br#"{"n":"12"#, MIN_SIZE).count(), 0);
    }
}
