//! A TCP link between two parties, which tests can disturb.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::process::free_ports;
use crate::wait::eventually;

/// Maximum number of bytes carried at once.
const CHUNK: usize = 16 * 1024;

/// Treatment of bytes and connections by a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkMode {
    /// Bytes pass.
    Open,
    /// The port is closed, and open connections are closed in order.
    Cut,
    /// Open connections and new connections are reset.
    Reset,
    /// No bytes pass, and neither end is notified.
    ///
    /// Bytes in transit arrive when the link is restored, as TCP would send them again. The kernel still accepts
    /// connections, which stay silent.
    BlackHole,
    /// Open connections fall silent for ever, as behind a firewall that forgot them.
    ///
    /// Neither end is notified. The connections stay silent also when the link is [open](LinkMode::Open) again. New
    /// connections pass.
    Forgotten,
    /// Each chunk of at most 16 KiB is delayed by this duration, in each direction.
    Slow(Duration),
}

impl LinkMode {
    fn carries(self) -> bool {
        matches!(self, Self::Open | Self::Forgotten | Self::Slow(_))
    }
}

/// State of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    mode: LinkMode,
    /// Number of times that open connections were forgotten.
    forgotten: u64,
}

/// A link from one port of 127.0.0.1 to another port there. Dropping the link ends it.
#[derive(Debug)]
pub struct Link {
    port: u16,
    state: watch::Sender<State>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Link {
    /// Opens a link to a port of 127.0.0.1. The runtime must run for as long as the link is used.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn to(target: u16) -> anyhow::Result<Self> {
        let [port] = free_ports()?;
        let listener = listen(port).await?;
        let (state, seen) = watch::channel(State { mode: LinkMode::Open, forgotten: 0 });
        let connections = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(serve(listener, port, target, seen, Arc::clone(&connections)));
        Ok(Self { port, state, connections, task })
    }

    /// Port that the link listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// URL of an HTTPS server behind the link.
    pub fn https(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Number of connections that are open now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Waits until no connection is open, after the link was [cut](LinkMode::Cut).
    ///
    /// The server behind the link may wait for its connections to end.
    ///
    /// # Errors
    /// If a connection is still open after 10 s.
    pub async fn unused(&self) -> anyhow::Result<()> {
        eventually("no connection is open", Duration::from_secs(10), async || {
            Ok((self.connections() == 0).then_some(()))
        })
        .await
    }

    /// Disturbs the link, or restores it with [`LinkMode::Open`]. The mode affects open connections too.
    pub fn set(&self, mode: LinkMode) {
        self.state.send_modify(|state| {
            state.mode = mode;
            state.forgotten += u64::from(mode == LinkMode::Forgotten);
        });
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).await.with_context(|| format!("listening on port {port}"))
}

async fn serve(
    listener: TcpListener,
    port: u16,
    target: u16,
    mut state: watch::Receiver<State>,
    connections: Arc<AtomicUsize>,
) {
    // The connections end together with this task, which owns the set.
    let mut open = tokio::task::JoinSet::new();
    let mut listener = Some(listener);
    loop {
        let State { mode, forgotten } = *state.borrow_and_update();
        if mode == LinkMode::Cut {
            listener = None;
        } else if listener.is_none() {
            // No other process takes the port of this link, because it is below the ephemeral range.
            listener = listen(port).await.map_err(|error| eprintln!("link: {error:#}")).ok();
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            Some(_) = open.join_next() => {}
            accepted = accepted => {
                let Ok((client, _)) = accepted else { continue };
                let (state, connections) = (state.clone(), Arc::clone(&connections));
                open.spawn(async move {
                    connections.fetch_add(1, Ordering::Relaxed);
                    carry(client, target, Wire { state, forgotten }).await;
                    connections.fetch_sub(1, Ordering::Relaxed);
                });
            }
        }
    }
}

/// State of the link as one connection sees it.
#[derive(Clone)]
struct Wire {
    state: watch::Receiver<State>,
    /// Number of times that the link had forgotten connections when this one was made.
    forgotten: u64,
}

impl Wire {
    /// Waits until bytes pass, and returns the mode. Returns `None` if the link has ended.
    async fn carries(&mut self) -> Option<LinkMode> {
        let born = self.forgotten;
        let carries = |state: &State| state.forgotten == born && state.mode.carries();
        self.state.wait_for(carries).await.ok().map(|state| state.mode)
    }

    /// Waits until the connection must end.
    async fn broken(&mut self) -> Option<LinkMode> {
        let broken = |state: &State| matches!(state.mode, LinkMode::Cut | LinkMode::Reset);
        self.state.wait_for(broken).await.ok().map(|state| state.mode)
    }
}

/// Carries one connection until one of its ends or the link closes it.
async fn carry(mut client: TcpStream, target: u16, wire: Wire) {
    let mut broken = wire.clone();
    let mut server = None;
    let carried = async {
        // A connection that arrives in a black hole waits there.
        if wire.clone().carries().await.is_none() {
            return;
        }
        let Ok(stream) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], target))).await else { return };
        let server = server.insert(stream);
        for stream in [&client, &*server] {
            // The option affects only the speed, so a failure is ignored.
            let _ = stream.set_nodelay(true);
        }
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        // A connection that closes in one direction closes in both. The protocols in use need no half-closed
        // connection.
        tokio::select! {
            () = pump(from_client, to_server, wire.clone()) => {}
            () = pump(from_server, to_client, wire.clone()) => {}
        }
    };
    let reset = tokio::select! {
        () = carried => false,
        broken = broken.broken() => broken == Some(LinkMode::Reset),
    };
    if reset {
        for stream in std::iter::once(&client).chain(&server) {
            // With a linger time of zero, closing sends a reset.
            let _ = stream.set_zero_linger();
        }
    }
}

async fn pump(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, mut wire: Wire) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await;
        // A link that carries nothing does not carry the end of a connection either.
        let Some(mode) = wire.carries().await else { return };
        let Ok(read @ 1..) = read else { return };
        if let LinkMode::Slow(late) = mode {
            tokio::time::sleep(late).await;
        }
        if to.write_all(&chunk[..read]).await.is_err() {
            return;
        }
    }
}
