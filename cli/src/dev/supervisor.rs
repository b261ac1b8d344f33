//! Keeps the command running: starts it, waits until it listens, starts it again after a change or an end, and ends it.
//!
//! ```text
//!   Starting ──► Listening ──► (change, r) ──► Starting
//!      │             │
//!      └── ended ────┴──► Resting ──► Starting
//! ```

use std::{io, path::Path, process::Stdio, sync::Arc, time::Duration};

use anyhow::bail;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    cast::Cast,
    command::Command,
    keyboard::{HELP, Key, Keyboard},
    process::{Process, in_words},
    screen::Screen,
    watch::Watch,
    world::World,
};

/// How often it is looked whether the command listens.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// After this long something may be wrong, and it is said what to do. It is waited for on: a compiler takes its time.
const SLOW: Duration = Duration::from_secs(30);
/// The first rest after an end, and the longest: each is twice the one before.
const REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(15);
/// Whoever listened this long is well, and rests briefly again.
const WELL_AFTER: Duration = Duration::from_secs(10);

/// What the command is doing.
enum Phase {
    Starting { process: Process, slow_at: Option<Instant> },
    Listening { process: Process, since: Instant },
    Resting { until: Instant },
}

/// What happens next.
enum Event {
    Quit,
    Key(Key),
    Changed(std::path::PathBuf),
    Listens,
    Slow,
    Ended(String),
    Rested,
}

/// The command, and what makes it start again.
pub(super) struct Supervisor {
    command: Command,
    screen: Screen,
    world: World,
    cast: Arc<Cast>,
    address: String,
    watch: Option<Watch>,
    keyboard: Option<Keyboard>,
    phase: Option<Phase>,
    began: Instant,
    has_listened: bool,
    rest: Duration,
}

impl Supervisor {
    pub(super) fn new(
        command: Command,
        screen: Screen,
        world: World,
        cast: Arc<Cast>,
        address: String,
        watch: Option<Watch>,
        keyboard: Keyboard,
    ) -> Self {
        Self {
            command,
            screen,
            world,
            cast,
            address,
            watch,
            keyboard: Some(keyboard),
            phase: None,
            began: Instant::now(),
            has_listened: false,
            rest: REST,
        }
    }

    /// Runs until somebody wants it to end. An error: the command's first start failed.
    pub(super) async fn run(&mut self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        self.start()?;
        loop {
            match self.next(shutdown).await {
                Event::Quit | Event::Key(Key::Quit) => return Ok(()),
                Event::Key(key) => self.obey(key).await?,
                Event::Changed(path) => self.changed(&path).await?,
                Event::Listens => self.listens(),
                Event::Slow => self.is_slow(),
                Event::Ended(how) => self.ended(&how).await?,
                Event::Rested => self.start()?,
            }
        }
    }

    /// Gives the terminal back.
    pub(super) fn close_keyboard(&mut self) {
        self.keyboard = None;
    }

    /// Ends the command.
    pub(super) async fn end(&mut self, at_once: &CancellationToken) {
        if let Some(Phase::Starting { process, .. } | Phase::Listening { process, .. }) = self.phase.take() {
            process.end(at_once).await;
        }
    }

    fn start(&mut self) -> anyhow::Result<()> {
        // Free from here on: the command is the next to take it.
        self.command.reserved = None;
        match Process::start(&self.command, &self.screen) {
            Ok(process) => {
                let slow_at = Some(Instant::now() + SLOW);
                self.phase = Some(Phase::Starting { process, slow_at });
            }
            Err(error) if self.has_listened => self.rest(&format!("does not start: {error}"), ""),
            Err(error) => bail!("{}", self.not_started(&error)),
        }
        Ok(())
    }

    fn not_started(&self, error: &io::Error) -> String {
        let program = self.command.arguments.first().map_or("", String::as_str);
        match error.kind() {
            io::ErrorKind::NotFound => format!(
                "there is no program {program}; write the command after -- as you would type it here, such as: kyros dev -- \
                 python app.py"
            ),
            io::ErrorKind::PermissionDenied => {
                format!(
                    "{program} is no program; make it one with chmod +x, or name what runs it: kyros dev -- sh {program}"
                )
            }
            _ => format!("{program} does not start: {error}"),
        }
    }

    async fn next(&mut self, shutdown: &CancellationToken) -> Event {
        let (watch, keyboard) = (&mut self.watch, &mut self.keyboard);
        let changed = async {
            match watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        let pressed = async {
            match keyboard {
                Some(keyboard) => keyboard.pressed().await,
                None => std::future::pending().await,
            }
        };
        let address = self.command.address();
        tokio::select! {
            () = shutdown.cancelled() => Event::Quit,
            key = pressed => Event::Key(key),
            path = changed => Event::Changed(path),
            event = Self::in_phase(self.phase.as_mut(), address) => event,
        }
    }

    /// What the phase brings by itself.
    async fn in_phase(phase: Option<&mut Phase>, address: std::net::SocketAddr) -> Event {
        let ended = |result: io::Result<_>| Event::Ended(result.map_or_else(|error| error.to_string(), in_words));
        match phase {
            Some(Phase::Starting { process, slow_at }) => tokio::select! {
                result = process.ended() => ended(result),
                () = listening(address) => Event::Listens,
                () = until(*slow_at) => Event::Slow,
            },
            Some(Phase::Listening { process, .. }) => ended(process.ended().await),
            Some(Phase::Resting { until }) => {
                sleep_until(*until).await;
                Event::Rested
            }
            None => std::future::pending().await,
        }
    }

    fn listens(&mut self) {
        let Some(Phase::Starting { process, .. }) = self.phase.take() else { return };
        let took = self.began.elapsed().as_secs_f64();
        self.phase = Some(Phase::Listening { process, since: Instant::now() });
        if self.has_listened {
            self.screen.note(&format!("{} listens again ({took:.1} s)", self.command.name()));
        } else {
            self.screen.note(&format!("{} listens; open {}", self.command.name(), self.address));
        }
        self.has_listened = true;
    }

    fn is_slow(&mut self) {
        if let Some(Phase::Starting { slow_at, .. }) = &mut self.phase {
            *slow_at = None;
        }
        let (name, address, port) = (self.command.name(), self.command.address(), self.command.port);
        let advice = if self.command.is_port_given {
            "is it the port of --port? It must be reached on 127.0.0.1".to_owned()
        } else {
            format!(
                "its port stands in PORT ({port}) and KYROS_DASHBOARD_LISTEN; or put {{port}} into its arguments, or say with \
                 --port which one it takes"
            )
        };
        self.screen.warn(&format!("{name} does not listen on {address} after {} s: {advice}", SLOW.as_secs()));
    }

    /// The command ended by itself.
    async fn ended(&mut self, how: &str) -> anyhow::Result<()> {
        let (process, lived) = match self.phase.take() {
            Some(Phase::Starting { process, .. }) => (process, Duration::ZERO),
            Some(Phase::Listening { process, since }) => (process, since.elapsed()),
            _ => return Ok(()),
        };
        let last = last_lines(&process.last_lines().await);
        if !self.has_listened {
            let (name, address) = (self.command.name(), self.command.address());
            bail!("{name} ended before it listened on {address}: {how}{last}");
        }
        if lived > WELL_AFTER {
            self.rest = REST;
        }
        self.rest(&format!("ended: {how}"), &last);
        Ok(())
    }

    /// Says what happened, and when it is tried again.
    fn rest(&mut self, what: &str, last: &str) {
        let (name, seconds) = (self.command.name(), self.rest.as_secs_f64());
        self.screen.warn(&format!("{name} {what}; it starts again in {seconds:.1} s{last}"));
        self.began = Instant::now();
        self.phase = Some(Phase::Resting { until: Instant::now() + self.rest });
        self.rest = (self.rest * 2).min(LONGEST_REST);
    }

    async fn changed(&mut self, path: &Path) -> anyhow::Result<()> {
        if let Some(dataset) = self.world.dataset_of(path) {
            let (world, screen) = (&self.world, &self.screen);
            match tokio::task::block_in_place(|| world.publish(&dataset)) {
                Ok(what) => screen.note(&format!("changed {} → {what}", path.display())),
                Err(error) => screen.warn(&format!("changed {}, the older rows stay: {error:#}", path.display())),
            }
            return Ok(());
        }
        self.restart(&format!("changed {} → restarting", path.display())).await
    }

    async fn restart(&mut self, why: &str) -> anyhow::Result<()> {
        self.screen.note(why);
        self.began = Instant::now();
        self.rest = REST;
        self.end(&CancellationToken::new()).await;
        self.start()
    }

    async fn obey(&mut self, key: Key) -> anyhow::Result<()> {
        match key {
            Key::Tenant => self.cast.next_tenant(),
            Key::Person => self.cast.next_player(),
            Key::Restart => return self.restart("restarting").await,
            Key::Open => open_in_browser(&self.address),
            Key::Help => self.screen.note(HELP),
            Key::Quit => (),
        }
        match key {
            Key::Tenant | Key::Person => {
                self.screen.turn(&self.cast);
                self.screen.note(&format!("open {} for it; pages that are open keep their tenant", self.address));
            }
            Key::Open => self.screen.note(&self.address),
            _ => (),
        }
        Ok(())
    }
}

/// The end of what a command wrote, to stand after what is said of it.
fn last_lines(lines: &[String]) -> String {
    let text: String = lines.iter().map(|line| format!("\n  {line}")).collect();
    if text.is_empty() { text } else { format!(". Its last lines:{text}") }
}

async fn listening(address: std::net::SocketAddr) {
    while TcpStream::connect(address).await.is_err() {
        sleep(LOOK_EVERY).await;
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// With what the desktop opens addresses with, where there is a desktop; the address is printed anyway.
fn open_in_browser(address: &str) {
    let has_desktop = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    if !cfg!(target_os = "macos") && !has_desktop {
        return;
    }
    let mut command = tokio::process::Command::new(opener);
    let quiet = command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(mut child) = quiet.spawn() {
        tokio::spawn(async move { child.wait().await });
    }
}
