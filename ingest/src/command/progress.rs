//! How far a long command is: a bar on a terminal, else a line now and then, on standard error.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

/// Cells of the bar.
const WIDTH: usize = 24;

/// Shows how far a command is.
pub(super) struct Progress {
    terminal: bool,
    every: Duration,
    shown: Instant,
}

impl Progress {
    pub(super) fn new() -> Self {
        let terminal = stderr().is_terminal();
        let every = if terminal {
            Duration::from_millis(200)
        } else {
            Duration::from_secs(10)
        };
        Self {
            terminal,
            every,
            shown: Instant::now(),
        }
    }

    /// Shows the share that is done, 0 to 1, and a few words, when it is time to.
    pub(super) fn show(&mut self, share: f64, words: impl FnOnce() -> String) {
        if self.shown.elapsed() < self.every {
            return;
        }
        self.shown = Instant::now();
        let (bar, words) = (bar(share), words());
        if self.terminal {
            // From the line's beginning, and what was longer is cleared (ECMA-48).
            eprint!("\r{bar} {words}\x1b[K");
            // Nothing is lost with it.
            drop(stderr().flush());
        } else {
            eprintln!("{bar} {words}");
        }
    }

    /// Clears the bar.
    pub(super) fn end(self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

fn bar(share: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 100"
    )]
    let percent = (share.clamp(0.0, 1.0) * 100.0) as usize;
    let full = percent * WIDTH / 100;
    format!("[{:<WIDTH$}] {percent:>3} %", "#".repeat(full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_from_nothing_to_all() {
        assert_eq!(bar(0.0), format!("[{}]   0 %", " ".repeat(WIDTH)));
        assert_eq!(
            bar(0.5),
            format!("[{:<WIDTH$}]  50 %", "#".repeat(WIDTH / 2))
        );
        assert_eq!(bar(2.0), format!("[{}] 100 %", "#".repeat(WIDTH)));
    }
}
