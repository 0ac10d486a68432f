//! Signals: SIGTERM and SIGINT stop, SIGHUP reloads.
//!
//! Handlers only note that a signal came; all reaction happens on ordinary threads. Long commands look at a
//! [`StopFlag`]; the daemon waits for [`Signal`]s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit;

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// Passes signals on to `deliver`, from a thread of its own, until the process ends.
///
/// # Errors
/// If the handlers cannot be installed.
pub(crate) fn listen(deliver: impl Fn(Signal) + Send + 'static) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("start the runtime for signals")?;
    let _inside = runtime.enter();
    // Installed before this returns, so that no signal finds the default action in its way.
    let mut terminate = signal(SignalKind::terminate()).context("install a handler for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("install a handler for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("install a handler for SIGHUP")?;
    drop(_inside);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    Some(()) = terminate.recv() => deliver(Signal::Stop),
                    Some(()) = interrupt.recv() => deliver(Signal::Stop),
                    Some(()) = hangup.recv() => deliver(Signal::Reload),
                    else => return,
                }
            }
        });
    })?;
    Ok(())
}

/// Signals as messages.
///
/// # Errors
/// As [`listen`].
pub(crate) fn channel<T: From<Signal> + Send + 'static>(to: Sender<T>) -> anyhow::Result<()> {
    listen(move |signal| {
        // The receiver is gone when the process is about to end.
        let _ = to.send(signal.into());
    })
}

/// Set by the first SIGTERM or SIGINT; the second one ends the process at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Installs the handlers.
    ///
    /// # Errors
    /// As [`listen`].
    pub(crate) fn install() -> anyhow::Result<Self> {
        let flag = Self::default();
        let set = flag.clone();
        listen(move |signal| match signal {
            Signal::Reload => {}
            Signal::Stop if set.0.swap(true, Ordering::Relaxed) => {
                exit::at_once("stopped at once by a second signal")
            }
            Signal::Stop => tracing::info!("stopping; a second signal ends at once"),
        })?;
        Ok(flag)
    }

    /// Whether to stop.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for libraries.
    pub(crate) fn as_atomic(&self) -> &AtomicBool {
        &self.0
    }
}
