//! A bar on the terminal, for as long as a run takes.

use std::io::{self, IsTerminal, Write};

const WIDTH: usize = 30;

/// Shows how far a run is, on one line that is written over; nothing where nobody watches.
pub(super) struct Bar {
    watched: bool,
}

impl Bar {
    pub(super) fn new() -> Self {
        Self { watched: io::stderr().is_terminal() }
    }

    /// `done` is a share of the whole.
    pub(super) fn show(&self, done: f64, text: &str) {
        if self.watched {
            eprint!("\r{}\x1b[K", line(done, text));
            let _nobody_watches = io::stderr().flush();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.watched {
            eprint!("\r\x1b[K");
        }
    }
}

fn line(done: f64, text: &str) -> String {
    let done = done.clamp(0.0, 1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a small width"
    )]
    let full = (done * WIDTH as f64) as usize;
    format!("[{}{}] {:>3.0} %  {text}", "#".repeat(full), " ".repeat(WIDTH - full), 100.0 * done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_wide_when_it_is_full() {
        assert_eq!(line(0.0, "x"), format!("[{}]   0 %  x", " ".repeat(30)));
        assert_eq!(line(0.5, "x"), format!("[{}{}]  50 %  x", "#".repeat(15), " ".repeat(15)));
        assert_eq!(line(7.0, "x"), format!("[{}] 100 %  x", "#".repeat(30)));
    }
}
