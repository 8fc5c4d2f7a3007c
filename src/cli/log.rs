//! The log of the server, on standard error.

mod queue;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt::{self, Debug, Write},
    io::{self, IsTerminal, Write as _, stderr},
    panic::{self, PanicHookInfo},
    sync::Arc,
    thread,
    time::Duration,
};

use tracing::{
    error,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    field::RecordFields,
    fmt::{FormatFields, format::Writer},
};

use super::text;
use queue::Queue;

/// What a server says of requests that are no HTTP is the caller's doing, at a level of his choosing.
const QUIET: &str = "actix_http::h1::dispatcher=off";

/// How long the end waits for whoever reads the log.
const FAREWELL: Duration = Duration::from_secs(2);

/// The log of a process. Its lines go to standard error, and whether they can be written changes nothing else;
/// `HOOKMILL_LOG` chooses which, as `tracing` writes its filters.
#[derive(Debug, Default)]
pub(super) struct Log(Option<Arc<Queue>>);

impl Log {
    /// For a server: nobody waits until a line is written, but for the end.
    pub(super) fn queued(default: &str) -> Self {
        let Ok(queue) = Queue::start(stderr()) else { return Self::direct(default) };
        let lines = Arc::clone(&queue);
        start(default, move || Line(Arc::clone(&lines)));
        // The usual one would wait for standard error.
        panic::set_hook(Box::new(tell_panic));
        Self(Some(queue))
    }

    /// Lines are written where they are made.
    pub(super) fn direct(default: &str) -> Self {
        start(default, stderr);
        Self::default()
    }

    /// Says one more thing, behind what was logged.
    pub(super) fn say(&self, text: &str) {
        let line = format!("{text}\n");
        match &self.0 {
            Some(queue) => queue.push(line.as_bytes()),
            None => {
                let _nobody_reads = stderr().write_all(line.as_bytes());
            }
        }
    }
}

/// What was logged is written, if it is read.
impl Drop for Log {
    fn drop(&mut self) {
        if let Some(queue) = &self.0 {
            queue.end(FAREWELL);
        }
    }
}

fn start<W: io::Write>(default: &str, writer: impl Fn() -> W + Send + Sync + 'static) {
    let filter = EnvFilter::builder().with_env_var("HOOKMILL_LOG");
    let filter = filter.with_default_directive(default.parse().unwrap_or_default()).from_env_lossy();
    let filter = match QUIET.parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // It would be told with `eprintln!`, which panics where nothing can be written.
        .log_internal_errors(false)
        .with_ansi(stderr().is_terminal())
        .with_target(false)
        .fmt_fields(Harmless)
        .init();
}

/// Where `tracing` writes one line, all of it at once.
struct Line(Arc<Queue>);

impl io::Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tell_panic(panic: &PanicHookInfo<'_>) {
    let (thread, at) = (thread::current(), panic.location().map(ToString::to_string));
    let (thread, message) = (thread.name(), panic.payload_as_str());
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    error!(event = "server.panicked", thread, at, message, backtrace, "a bug");
}

/// Writes fields as `tracing` does, with every character escaped that could end a line, steer a terminal or turn text
/// around: whatever others have put into a topic, a URL or an answer, a line of the log is one line.
struct Harmless;

impl<'writer> FormatFields<'writer> for Harmless {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut line = Fields { writer, first: true, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

struct Fields<'writer> {
    writer: Writer<'writer>,
    first: bool,
    result: fmt::Result,
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.result.is_ok() {
            self.result = self.write(field.name(), value);
        }
    }
}

impl Fields<'_> {
    fn write(&mut self, name: &str, value: &dyn Debug) -> fmt::Result {
        if !std::mem::take(&mut self.first) {
            self.writer.write_char(' ')?;
        }
        match (name, self.writer.has_ansi_escapes()) {
            ("message", _) => {}
            (_, true) => write!(self.writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m")?,
            (_, false) => write!(self.writer, "{name}=")?,
        }
        write!(text::Escaping(&mut self.writer), "{value:?}")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::*;

    /// What is logged by `act`.
    fn logged(act: impl FnOnce()) -> String {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let writer = move || Sink(Arc::clone(&sink));
        let log = tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(writer).fmt_fields(Harmless);
        tracing::subscriber::with_default(log.finish(), act);
        let lines = lines.lock().unwrap().clone();
        String::from_utf8(lines).unwrap()
    }

    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_reads_as_usual() {
        let line = logged(|| {
            tracing::info!(event = "a.b", n = 1, id = %"x", some = ?Some("y"), "all is well");
        });
        assert_eq!(line, " INFO hookmill::cli::log::tests: all is well event=\"a.b\" n=1 id=x some=Some(\"y\")\n");
    }

    proptest! {
        #[test]
        fn one_event_is_one_line_whatever_is_in_it(text in "(\\PC|\r|\n|\u{1b}\\[31m|\u{85}|\u{2028}|\u{202e}|\u{2066}|\0){0,20}") {
            let line = logged(|| tracing::warn!(shown = %text, debug = ?text, plain = text.as_str(), "about {text}"));
            let body = line.strip_suffix('\n').unwrap();
            prop_assert!(!body.contains(text::is_harmful), "{body:?}");
        }
    }
}
