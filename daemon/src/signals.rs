//! Signals: SIGTERM and SIGINT stop, SIGHUP reloads.
//!
//! A handler only notes that a signal came. Ordinary threads react to it. Long commands check a [`StopFlag`], and the
//! daemon waits for [`Signal`]s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit;

/// A signal that the program handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// Passes signals to `deliver`, on a thread of its own, until the process ends.
///
/// # Errors
/// If the handlers cannot be installed.
pub(crate) fn listen(deliver: impl Fn(Signal) + Send + 'static) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("start the runtime for signals")?;
    let _inside = runtime.enter();
    // The handlers are installed before this function returns, so from then on no signal has its default action.
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

/// Sends signals as messages.
///
/// # Errors
/// As [`listen`].
pub(crate) fn channel<T: From<Signal> + Send + 'static>(to: Sender<T>) -> anyhow::Result<()> {
    listen(move |signal| {
        // The receiver is gone only when the process is about to end.
        let _ = to.send(signal.into());
    })
}

/// A flag that the first SIGTERM or SIGINT sets. The second one ends the process at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Installs the handlers and gives the flag.
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

    /// The flag itself, as libraries take it.
    pub(crate) fn as_atomic(&self) -> &AtomicBool {
        &self.0
    }
}
