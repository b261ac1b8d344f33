//! Single keys, where a person sits at a terminal. The terminal is given back as it was on every way out.
//!
//! Only echo and line input are switched off: Ctrl-C and Ctrl-Z stay the signals that they are everywhere else, and lines end as
//! they always do.

use std::{
    io::{self, IsTerminal as _, Read as _},
    sync::Arc,
};

use rustix::{
    process::Signal,
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::screen::Screen;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Tenant,
    Person,
    Restart,
    Open,
    Help,
    Quit,
}

/// What `h` shows.
pub(super) const HELP: &str = "t next tenant, p next person, r restart, o open in the browser, h help, q quit";

impl Key {
    fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            b't' => Self::Tenant,
            b'p' => Self::Person,
            b'r' => Self::Restart,
            b'o' => Self::Open,
            b'h' | b'?' => Self::Help,
            // Ctrl-D, as in a shell.
            b'q' | 4 => Self::Quit,
            _ => return None,
        })
    }
}

/// The keyboard, or nothing where nobody sits.
pub(super) struct Keyboard {
    keys: Option<mpsc::Receiver<Key>>,
    _modes: Option<Arc<SingleKeys>>,
}

impl Keyboard {
    /// Takes single keys from a terminal. From anything else, and in the background, nothing is read.
    pub(super) fn open(screen: &Screen) -> Self {
        let Some(modes) = SingleKeys::set() else { return Self { keys: None, _modes: None } };
        let modes = Arc::new(modes);
        let (tell, keys) = mpsc::channel(8);
        let read = move || {
            for byte in io::stdin().lock().bytes() {
                let Ok(byte) = byte else { return };
                if let Some(key) = Key::of(byte)
                    && tell.blocking_send(key).is_err()
                {
                    return;
                }
            }
        };
        // A thread that the end of the program does not wait for, as nothing ends a read.
        let _ = std::thread::Builder::new().name("keyboard".to_owned()).spawn(read);
        tokio::spawn(keep_after_stops(Arc::downgrade(&modes)));
        screen.note(HELP);
        Self { keys: Some(keys), _modes: Some(modes) }
    }

    /// The next key. Never returns where there is no terminal.
    pub(super) async fn pressed(&mut self) -> Key {
        let key = match &mut self.keys {
            Some(keys) => keys.recv().await,
            None => None,
        };
        match key {
            Some(key) => key,
            None => std::future::pending().await,
        }
    }
}

/// A terminal without echo and line input, until this is dropped.
struct SingleKeys {
    before: Termios,
    now: Termios,
}

impl SingleKeys {
    fn set() -> Option<Self> {
        let stdin = io::stdin();
        // A program in the background that changes the terminal is stopped by the system.
        let is_in_front = || tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp());
        if !stdin.is_terminal() || !is_in_front() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        // A read returns with the first byte, and waits for it.
        now.special_codes[SpecialCodeIndex::VMIN] = 1;
        now.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&stdin, OptionalActions::Now, &now).ok()?;
        Some(Self { before, now })
    }
}

impl Drop for SingleKeys {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// After Ctrl-Z and `fg` the terminal is as the shell had it.
async fn keep_after_stops(modes: std::sync::Weak<SingleKeys>) {
    let Ok(mut continued) = signal(SignalKind::from_raw(Signal::CONT.as_raw())) else { return };
    while continued.recv().await.is_some() {
        let Some(modes) = modes.upgrade() else { return };
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &modes.now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_help_does_something() {
        for part in HELP.split(", ") {
            assert!(Key::of(part.as_bytes()[0]).is_some(), "{part}");
        }
        assert_eq!(Key::of(b'\x1b'), None);
    }
}
