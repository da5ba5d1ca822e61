//! A TCP link between two parties that can be disturbed.

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

/// Bytes carried at once.
const CHUNK: usize = 16 * 1024;

/// What happens to the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkMode {
    /// They pass.
    Open,
    /// Nobody listens; what was connected is closed in order.
    Cut,
    /// What is connected, and what connects, is reset.
    Reset,
    /// Nothing passes and nobody is told. What is on the way arrives when the link is restored, as TCP would send it
    /// again. Connections are still accepted, by the kernel, and stay silent.
    BlackHole,
    /// What is connected falls silent for ever, also when the link is [open](LinkMode::Open) again, as behind a firewall that
    /// forgot it; neither end is told. What connects from now on passes.
    Forgotten,
    /// Each chunk, at most 16 KiB, is late by so much in each direction.
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
    /// How many times what was connected was forgotten.
    forgotten: u64,
}

/// A link that listens on 127.0.0.1 and leads to one port there. It ends when it is dropped.
#[derive(Debug)]
pub struct Link {
    port: u16,
    state: watch::Sender<State>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Link {
    /// An open link that leads to a port of 127.0.0.1. Needs a runtime that goes on while it is used.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn to(target: u16) -> anyhow::Result<Self> {
        let [port] = free_ports()?;
        let listener = listen(port).await?;
        let (state, seen) = watch::channel(State { mode: LinkMode::Open, forgotten: 0 });
        let connections = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(serve(listener, port, target, seen, Arc::clone(&connections)));
        Ok(Self { port, state, connections, task })
    }

    /// Port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// URL of an HTTPS server behind it.
    pub fn https(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Waits until no connection is open, after it was [cut](LinkMode::Cut): what it leads to may wait for that to end.
    ///
    /// # Errors
    /// When some are open for long.
    pub async fn unused(&self) -> anyhow::Result<()> {
        eventually("no connection is open", Duration::from_secs(10), async || {
            Ok((self.connections() == 0).then_some(()))
        })
        .await
    }

    /// Disturbs it, or restores it with [`LinkMode::Open`]. Takes effect on what is connected too.
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
    // Ends with this task, and ends every connection with it.
    let mut open = tokio::task::JoinSet::new();
    let mut listener = Some(listener);
    loop {
        let State { mode, forgotten } = *state.borrow_and_update();
        if mode == LinkMode::Cut {
            listener = None;
        } else if listener.is_none() {
            // The port is ours; nobody else takes it below the ephemeral range.
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

/// What one connection is to know of its link.
#[derive(Clone)]
struct Wire {
    state: watch::Receiver<State>,
    /// How often the link had forgotten when the connection was made.
    forgotten: u64,
}

impl Wire {
    /// How bytes pass, as soon as they do; nothing when the link has ended.
    async fn carries(&mut self) -> Option<LinkMode> {
        let born = self.forgotten;
        let carries = |state: &State| state.forgotten == born && state.mode.carries();
        self.state.wait_for(carries).await.ok().map(|state| state.mode)
    }

    /// Completes when the connection is to end.
    async fn broken(&mut self) -> Option<LinkMode> {
        let broken = |state: &State| matches!(state.mode, LinkMode::Cut | LinkMode::Reset);
        self.state.wait_for(broken).await.ok().map(|state| state.mode)
    }
}

/// Carries one connection until an end closes it or the link does.
async fn carry(mut client: TcpStream, target: u16, wire: Wire) {
    let mut broken = wire.clone();
    let mut server = None;
    let carried = async {
        // A connection that comes into a black hole waits there.
        if wire.clone().carries().await.is_none() {
            return;
        }
        let Ok(stream) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], target))).await else { return };
        let server = server.insert(stream);
        for stream in [&client, &*server] {
            // Only a matter of speed.
            let _ = stream.set_nodelay(true);
        }
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        // An end that is closed in one direction is closed in both; none of our protocols needs half of one.
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
            // With nothing to linger for, closing sends a reset.
            let _ = stream.set_zero_linger();
        }
    }
}

async fn pump(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, mut wire: Wire) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await;
        // An end that is closed is not told through a link that carries nothing.
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
