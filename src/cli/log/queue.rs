//! Lines of the log on their way out. Whoever logs leaves them here and never waits: a thread of its own writes them, as
//! fast as they are read. What finds no room, or cannot be written, is dropped, counted, and told of later.

use std::{
    fmt::Write as _,
    io::{self, ErrorKind, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime, SystemTime},
};

use crate::metrics::process::LOG_LINES_DROPPED;

/// Bytes that wait, at most. As many more may be on their way out.
const ROOM: usize = 1 << 20;

/// The lines that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    /// Lines that were dropped and are still to be told of.
    dropped: u64,
    /// Some lines are being written.
    writing: bool,
    ended: bool,
}

impl Queue {
    /// Lines go to `output` from now on.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self::default());
        let taken = Arc::clone(&queue);
        thread::Builder::new().name("hookmill-log".to_owned()).spawn(move || taken.run(output))?;
        Ok(queue)
    }

    /// Takes one whole line, or drops it.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.lines.len().saturating_add(line.len()) > ROOM {
            state.dropped += 1;
            LOG_LINES_DROPPED.one();
        } else {
            state.lines.extend_from_slice(line);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until every line is written, but no longer than `patience`. Later lines may be written or not.
    pub(super) fn end(&self, patience: Duration) {
        let mut state = self.state();
        state.ended = true;
        self.changed.notify_all();
        let left = |state: &mut State| state.writing || !state.lines.is_empty();
        // Who has stopped reading holds up no end.
        let _left = self.changed.wait_timeout_while(state, patience, left);
    }

    fn run(&self, mut output: impl Write) {
        // The last line was cut off: the next one is to begin on its own.
        let mut cut = false;
        while let Some((lines, told)) = self.take() {
            let begun = !cut || write(&mut output, b"\n") == 1;
            let written = if begun { write(&mut output, &lines) } else { 0 };
            let (out, left) = lines.split_at(written);
            cut = out.last().map_or(cut && !begun, |last| *last != b'\n');
            self.written(left, told);
        }
    }

    /// The lines that wait, the last of them tells of those that were dropped: so many. None once everything has ended.
    fn take(&self) -> Option<(Vec<u8>, u64)> {
        let waits = |state: &mut State| state.lines.is_empty() && !state.ended;
        let mut state = self.changed.wait_while(self.state(), waits).unwrap_or_else(PoisonError::into_inner);
        let (mut lines, told) = (mem::take(&mut state.lines), mem::take(&mut state.dropped));
        if told > 0 {
            lines.extend_from_slice(tell(told).as_bytes());
        }
        state.writing = !lines.is_empty();
        state.writing.then_some((lines, told))
    }

    /// All lines were written but those that are `left`, with the last one if there are any.
    fn written(&self, left: &[u8], told: u64) {
        let mut state = self.state();
        if !left.is_empty() {
            let all = left.iter().filter(|byte| **byte == b'\n').count() as u64;
            // The line that tells of others is none of those that were logged.
            let lines = all - u64::from(told > 0);
            state.dropped += told + lines;
            LOG_LINES_DROPPED.add(lines);
        }
        state.writing = false;
        drop(state);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many of the bytes were written: fewer than all when the rest cannot be.
fn write(output: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match output.write(rest) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    written
}

/// The line that tells of `dropped` ones.
fn tell(dropped: u64) -> String {
    let mut line = String::new();
    // A `String` takes everything.
    let _written = SystemTime.format_time(&mut Writer::new(&mut line));
    let _written = writeln!(line, "  WARN lines of the log were dropped event=\"log.dropped\" lines={dropped}");
    line
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Takes so many bytes of each write as it is told by then, and hands them on; fails when told to take none.
    struct Slow {
        takes: Receiver<usize>,
        taken: Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Who is told nothing more takes everything.
            let takes = self.takes.recv().unwrap_or(usize::MAX).min(bytes.len());
            self.taken.send(bytes[..takes].to_vec()).unwrap();
            if takes > 0 { Ok(takes) } else { Err(ErrorKind::BrokenPipe.into()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Arc<Queue>, Sender<usize>, Receiver<Vec<u8>>) {
        let ((take, takes), (taken, out)) = (channel(), channel());
        (Queue::start(Slow { takes, taken }).unwrap(), take, out)
    }

    /// Everything that was taken after the queue has ended.
    fn rest(queue: &Queue, take: Sender<usize>, out: &Receiver<Vec<u8>>) -> String {
        drop(take);
        queue.end(PATIENCE);
        String::from_utf8(out.try_iter().flatten().collect()).unwrap()
    }

    fn next(out: &Receiver<Vec<u8>>) -> String {
        String::from_utf8(out.recv_timeout(PATIENCE).unwrap()).unwrap()
    }

    #[test]
    fn nobody_waits_for_an_output_that_takes_nothing_and_all_that_has_room_comes_out_in_its_order() {
        let (queue, take, out) = slow();
        let lines: Vec<_> = (0..1000).map(|n| format!("{n}\n")).collect();
        lines.iter().for_each(|line| queue.push(line.as_bytes()));
        assert!(out.try_recv().is_err(), "nothing is taken");
        assert_eq!(rest(&queue, take, &out), lines.concat());
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_behind_what_did() {
        let (queue, take, out) = slow();
        let line = [b"x".repeat(999).as_slice(), b"\n"].concat();
        queue.push(b"first\n");
        take.send(2).unwrap();
        assert_eq!(next(&out), "fi");
        (0..ROOM / 1000 + 7).for_each(|_| queue.push(&line));
        let all = rest(&queue, take, &out);
        assert_eq!(all.matches("xxx\n").count(), ROOM / 1000);
        assert!(
            all.lines().last().unwrap().ends_with("WARN lines of the log were dropped event=\"log.dropped\" lines=7")
        );
    }

    #[test]
    fn what_cannot_be_written_is_told_on_a_line_of_its_own_as_soon_as_something_can() {
        let (queue, take, out) = slow();
        queue.push(b"first\n");
        take.send(2).unwrap();
        take.send(0).unwrap();
        assert_eq!([next(&out), next(&out)], ["fi", ""]);
        for line in ["second\n", "third\n"] {
            queue.push(line.as_bytes());
            take.send(0).unwrap();
            assert_eq!(next(&out), "");
        }
        queue.push(b"fourth\n");
        let all = rest(&queue, take, &out);
        let lines: Vec<_> = all.lines().collect();
        assert_eq!(lines[..2], ["", "fourth"]);
        assert!(lines.len() == 3 && lines[2].ends_with("lines=3"), "{all}");
    }

    #[test]
    fn an_output_that_takes_nothing_holds_up_no_end() {
        let (queue, take, out) = slow();
        queue.push(b"first\n");
        queue.end(Duration::from_millis(1));
        assert!(out.try_recv().is_err());
        drop(take);
        assert_eq!(next(&out), "first\n");
    }
}
