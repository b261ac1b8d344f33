//! Ctrl-C, SIGTERM and a closed terminal: the first ends everything in order, the next one at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What signals ask for.
pub(super) struct Signals {
    /// End in order.
    pub(super) shutdown: CancellationToken,
    /// Wait for nobody. The program still goes through its last lines, so that no command is left behind.
    pub(super) at_once: CancellationToken,
}

impl Signals {
    /// Catches them from now on.
    pub(super) fn catch() -> Self {
        let (shutdown, at_once) = (CancellationToken::new(), CancellationToken::new());
        let order = [shutdown.clone(), at_once.clone()];
        tokio::spawn(async move {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hang_up)] = kinds.map(signal) else { return };
            for token in order {
                tokio::select! {
                    _ = interrupt.recv() => (),
                    _ = terminate.recv() => (),
                    _ = hang_up.recv() => (),
                }
                token.cancel();
            }
            // Later ones change nothing: what is left to do is short.
            std::future::pending::<()>().await;
        });
        Self { shutdown, at_once }
    }
}
