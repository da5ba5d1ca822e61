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
    /// Each chunk, at most 16 KiB, is late by so much in each direction.
    Slow(Duration),
}

impl LinkMode {
    fn carries(self) -> bool {
        matches!(self, Self::Open | Self::Slow(_))
    }
}

/// A link that listens on 127.0.0.1 and leads to one port there. It ends when it is dropped.
#[derive(Debug)]
pub struct Link {
    port: u16,
    mode: watch::Sender<LinkMode>,
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
        let (mode, seen) = watch::channel(LinkMode::Open);
        let connections = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(serve(listener, port, target, seen, Arc::clone(&connections)));
        Ok(Self { port, mode, connections, task })
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

    /// Disturbs it, or restores it with [`LinkMode::Open`]. Takes effect on what is connected too.
    pub fn set(&self, mode: LinkMode) {
        self.mode.send_replace(mode);
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
    mut mode: watch::Receiver<LinkMode>,
    connections: Arc<AtomicUsize>,
) {
    // Ends with this task, and ends every connection with it.
    let mut open = tokio::task::JoinSet::new();
    let mut listener = Some(listener);
    loop {
        let now = *mode.borrow_and_update();
        if now == LinkMode::Cut {
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
            changed = mode.changed() => if changed.is_err() { return },
            Some(_) = open.join_next() => {}
            accepted = accepted => {
                let Ok((client, _)) = accepted else { continue };
                let (mode, connections) = (mode.clone(), Arc::clone(&connections));
                open.spawn(async move {
                    connections.fetch_add(1, Ordering::Relaxed);
                    carry(client, target, mode).await;
                    connections.fetch_sub(1, Ordering::Relaxed);
                });
            }
        }
    }
}

/// Carries one connection until an end closes it or the link does.
async fn carry(mut client: TcpStream, target: u16, mode: watch::Receiver<LinkMode>) {
    let mut broken = mode.clone();
    let broken = broken.wait_for(|mode| matches!(mode, LinkMode::Cut | LinkMode::Reset));
    let mut server = None;
    let carried = async {
        // A connection that comes into a black hole waits there.
        if mode.clone().wait_for(|mode| mode.carries()).await.is_err() {
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
            () = pump(from_client, to_server, mode.clone()) => {}
            () = pump(from_server, to_client, mode.clone()) => {}
        }
    };
    let reset = tokio::select! {
        () = carried => false,
        broken = broken => broken.is_ok_and(|mode| *mode == LinkMode::Reset),
    };
    if reset {
        for stream in std::iter::once(&client).chain(&server) {
            // With nothing to linger for, closing sends a reset.
            let _ = stream.set_zero_linger();
        }
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut mode: watch::Receiver<LinkMode>,
) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let Ok(read @ 1..) = from.read(&mut chunk).await else { return };
        let Ok(now) = mode.wait_for(|mode| mode.carries()).await.map(|mode| *mode) else { return };
        if let LinkMode::Slow(late) = now {
            tokio::time::sleep(late).await;
        }
        if to.write_all(&chunk[..read]).await.is_err() {
            return;
        }
    }
}
