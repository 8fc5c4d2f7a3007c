//! The text that Prometheus reads: exposition format 0.0.4.

use std::fmt::{Display, Write};

use super::{Histogram, Tally};

/// The content type of [`Text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Values below bounds.
    Histogram,
}

/// A text in the making.
#[derive(Debug, Default)]
pub struct Text(String);

/// The samples of one family.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: String,
}

impl Text {
    /// Begins a family; its name is put behind `hookmill_`, unless it is one that every process has.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) -> Family<'_> {
        let prefix = if name.starts_with("process_") { "" } else { "hookmill_" };
        let name = format!("{prefix}{name}");
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        line(&mut self.0, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
        Family { text: &mut self.0, name }
    }

    /// A family of one sample without a label.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// A family of counters.
    pub fn tally(&mut self, name: &str, help: &str, label: &str, tally: &Tally) {
        let mut family = self.family(name, Kind::Counter, help);
        tally.read().for_each(|(value, count)| family.sample(&[(label, value)], count));
    }

    /// The whole text.
    pub fn done(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// Adds a sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        line(self.text, format_args!("{}{} {value}", self.name, Labels(labels, None)));
    }

    /// Adds a histogram.
    pub fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) {
        let (name, shown) = (&self.name, histogram.read());
        for (bound, count) in shown.buckets {
            line(self.text, format_args!("{name}_bucket{} {count}", Labels(labels, Some(&bound))));
        }
        let count = shown.count;
        line(self.text, format_args!("{name}_bucket{} {count}", Labels(labels, Some(&"+Inf"))));
        line(self.text, format_args!("{name}_sum{} {}", Labels(labels, None), shown.sum));
        line(self.text, format_args!("{name}_count{} {count}", Labels(labels, None)));
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _never_fails = writeln!(text, "{line}");
}

/// Labels in braces, and the bound of a bucket.
struct Labels<'a>(&'a [(&'a str, &'a str)], Option<&'a dyn Display>);

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(labels, bound) = self;
        if labels.is_empty() && bound.is_none() {
            return Ok(());
        }
        f.write_char('{')?;
        for (place, (name, value)) in labels.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(f, "{comma}{name}=\"{}\"", Escaped(value))?;
        }
        if let Some(bound) = bound {
            let comma = if labels.is_empty() { "" } else { "," };
            write!(f, "{comma}le=\"{bound}\"")?;
        }
        f.write_char('}')
    }
}

struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_written_as_the_format_says() {
        let mut text = Text::default();
        text.family("a_total", Kind::Counter, "Counts.").sample(&[("x", "1\"\\\n"), ("y", "")], 7);
        let histogram = Histogram::seconds(&[500_000]);
        histogram.time(Duration::from_secs(1));
        text.family("b_seconds", Kind::Histogram, "Lasts.").histogram(&[("route", "/")], &histogram);
        text.single("process_threads", Kind::Gauge, "Threads.", 3);
        let expected = r#"# HELP hookmill_a_total Counts.
# TYPE hookmill_a_total counter
hookmill_a_total{x="1\"\\\n",y=""} 7
# HELP hookmill_b_seconds Lasts.
# TYPE hookmill_b_seconds histogram
hookmill_b_seconds_bucket{route="/",le="0.5"} 0
hookmill_b_seconds_bucket{route="/",le="+Inf"} 1
hookmill_b_seconds_sum{route="/"} 1
hookmill_b_seconds_count{route="/"} 1
# HELP process_threads Threads.
# TYPE process_threads gauge
process_threads 3
"#;
        assert_eq!(text.done(), expected);
    }
}
