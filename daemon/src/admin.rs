//! The admin server. It has its own thread and runtime, so it answers even under load.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | 200, the page for Prometheus (text format 0.0.4) |
//! | `/live` | 200 while every thread makes progress, else 503 with the name of a thread that does not |
//! | `/ready` | 200 while sessions are played, 503 before that and while draining |
//!
//! Nothing can be changed through it. It listens on loopback unless the profile says otherwise.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use netssm_replay::clock::{Clock, SystemClock};
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::metrics::Metrics;

/// A running server.
#[derive(Debug)]
pub(crate) struct Admin {
    address: SocketAddr,
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Admin {
    /// Binds the address and starts to answer.
    ///
    /// # Errors
    /// If the address cannot be bound, or the runtime or thread cannot start.
    pub(crate) fn start(address: SocketAddr, metrics: Metrics, health: Arc<Health>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .with_context(|| format!("listen on {address} for metrics ([metrics] listen)"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the runtime of the admin server")?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            if let Err(error) = runtime.block_on(serve(listener, metrics, health, stopped)) {
                tracing::error!(%error, "the admin server failed");
            }
        })?;
        Ok(Self { address, stop, thread })
    }

    /// The address that it listens on. With port 0 in the profile, this has the port that the system chose.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers the requests that have arrived, then stops.
    pub(crate) fn stop(self) {
        self.stop.cancel();
        if self.thread.join().is_err() {
            tracing::error!("the admin thread panicked");
        }
    }
}

async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    health: Arc<Health>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let upkeep = {
        let metrics = metrics.clone();
        async move {
            let mut every = tokio::time::interval(Duration::from_secs(1));
            loop {
                every.tick().await;
                metrics.upkeep();
            }
        }
    };
    tokio::spawn(upkeep);
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let asked = stop.clone();
    let server = axum::serve(listener, router(metrics, health))
        .with_graceful_shutdown(async move { stop.cancelled().await });
    tokio::select! {
        result = server => result,
        // A client that keeps its connection open must not keep the daemon from stopping.
        () = async { asked.cancelled().await; tokio::time::sleep(Duration::from_millis(500)).await } => Ok(()),
    }
}

fn router(metrics: Metrics, health: Arc<Health>) -> Router {
    let live = Arc::clone(&health);
    Router::new()
        .route(
            "/metrics",
            get(move || async move {
                ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
            }),
        )
        .route(
            "/live",
            get(move || async move {
                match live.check(SystemClock::new().now()) {
                    Ok(()) => (StatusCode::OK, "alive\n".to_owned()).into_response(),
                    Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
                }
            }),
        )
        .route(
            "/ready",
            get(move || async move {
                if health.is_ready() {
                    (StatusCode::OK, "ready\n")
                } else {
                    (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
                }
            }),
        )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn start(health: &Arc<Health>) -> Admin {
        Admin::start("127.0.0.1:0".parse().unwrap(), Metrics::new(), Arc::clone(health)).unwrap()
    }

    #[test]
    fn each_path_says_what_it_should() {
        let health = Arc::new(Health::default());
        let admin = start(&health);
        let metrics = ask(admin.address(), "/metrics");
        assert!(
            metrics.starts_with("HTTP/1.1 200") && metrics.contains("text/plain; version=0.0.4"),
            "{metrics}"
        );
        assert!(metrics.contains("netssmd_build_info{"), "{metrics}");
        assert!(ask(admin.address(), "/ready").starts_with("HTTP/1.1 503"));
        health.set_ready(true);
        assert!(ask(admin.address(), "/ready").starts_with("HTTP/1.1 200"));
        assert!(ask(admin.address(), "/live").starts_with("HTTP/1.1 200"));
        // A thread whose last beat was when the machine started.
        health.pulse("player", Duration::from_nanos(1), netssm_replay::clock::MonoTime(0));
        let live = ask(admin.address(), "/live");
        assert!(
            live.starts_with("HTTP/1.1 503") && live.contains("the player thread has not moved"),
            "{live}"
        );
        assert!(ask(admin.address(), "/").starts_with("HTTP/1.1 404"));
        admin.stop();
    }

    #[test]
    fn an_open_connection_does_not_hold_up_the_stop() {
        let admin = start(&Arc::new(Health::default()));
        let address = admin.address();
        let idle = TcpStream::connect(address).unwrap();
        admin.stop();
        drop(idle);
        assert!(TcpStream::connect(address).is_err(), "the port is free again");
    }

    #[test]
    fn a_taken_port_is_an_error_that_names_it() {
        let health = Arc::new(Health::default());
        let admin = start(&health);
        let error = Admin::start(admin.address(), Metrics::new(), health).unwrap_err();
        assert!(error.to_string().contains(&admin.address().to_string()), "{error}");
        admin.stop();
    }
}
