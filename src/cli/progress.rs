//! Progress on the terminal; nothing is written where the output is not a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use super::Context;

/// A progress bar, shown until it is cleared.
#[derive(Clone)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// A bar with these words before it.
    pub(super) fn new(context: &Context, words: &'static str) -> Self {
        let shown = !context.output.is_json() && !context.global.quiet && std::io::stderr().is_terminal();
        let bar = if shown { ProgressBar::new(100) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {percent} %") {
            bar.set_style(style);
        }
        bar.set_message(words);
        Self(bar)
    }

    /// Shows that `done` of `total` is done.
    pub(super) fn set(&self, done: u64, total: u64) {
        self.0.set_length(total.max(1));
        self.0.set_position(done);
    }

    /// Changes the words.
    pub(super) fn say(&self, words: &'static str) {
        self.0.set_message(words);
    }

    /// Prints lines above the bar.
    pub(super) fn suspend(&self, act: impl FnOnce()) {
        self.0.suspend(act);
    }

    /// Removes the bar.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
