//! One run of the command: a process group of its own, so that its end is the end of everything that it started.

use std::{
    collections::VecDeque,
    io,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::{
    io::AsyncRead,
    process::{Child, Command as TokioCommand},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{command::Command, outlet, screen::Screen};

/// How long the command may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);
/// How long what it started may take after that. Not longer: where nobody waits for orphans they look alive for ever.
const ORPHANS_GRACE: Duration = Duration::from_millis(300);
/// How often it is looked whether something is left.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Last lines that are repeated when it has ended by itself.
const TAIL: usize = 8;
/// How long its last words may take to arrive.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// The last lines that the command wrote.
#[derive(Clone, Default)]
struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }
}

/// Its whole group is killed when this is dropped, also by a panic.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // There may be nobody left, which is as well.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

/// A running command.
pub(super) struct Process {
    child: Child,
    group: Group,
    tail: Tail,
    readers: [JoinHandle<()>; 2],
}

impl Process {
    /// Starts it, its output behind a prefix.
    pub(super) fn start(command: &Command, screen: &Screen) -> io::Result<Self> {
        let (program, arguments) = command.arguments.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = TokioCommand::new(program)
            .args(arguments)
            .envs(command.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let group = Group(id.ok_or_else(|| io::Error::other("it has no process id"))?);
        let tail = Tail::default();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let readers = [follow(stdout, screen, &tail), follow(stderr, screen, &tail)];
        Ok(Self { child, group, tail, readers })
    }

    /// Waits until the command ends by itself. May be cancelled and called again.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// The last lines, once everything that it wrote has arrived; something that it left behind is ended.
    pub(super) async fn last_lines(mut self) -> Vec<String> {
        let _ = kill_process_group(self.group.0, Signal::KILL);
        for reader in &mut self.readers {
            let _ = tokio::time::timeout(LAST_WORDS, reader).await;
        }
        let lines = self.tail.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    /// Ends the whole group: asked first, then forced.
    pub(super) async fn end(mut self, at_once: &CancellationToken) {
        let _ = kill_process_group(self.group.0, Signal::TERM);
        tokio::select! {
            _ = tokio::time::timeout(GRACE, self.child.wait()) => (),
            () = at_once.cancelled() => (),
        }
        let is_left = || test_kill_process_group(self.group.0).is_ok();
        let orphans = async {
            while is_left() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(ORPHANS_GRACE, orphans) => (),
            () = at_once.cancelled() => (),
        }
        let _ = kill_process_group(self.group.0, Signal::KILL);
        let _ = self.child.wait().await;
    }
}

fn follow(stream: Option<impl AsyncRead + Unpin + Send + 'static>, screen: &Screen, tail: &Tail) -> JoinHandle<()> {
    let (screen, tail) = (screen.clone(), tail.clone());
    tokio::spawn(async move {
        if let Some(stream) = stream {
            outlet::lines(stream, |line| {
                screen.command(line);
                tail.push(line);
            })
            .await;
        }
    })
}

/// How a command ended, in words.
pub(super) fn in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
