//! A link that can be disturbed.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use testbed::{Link, LinkMode, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SOON: Duration = Duration::from_secs(10);
/// Much longer than a byte needs on an open link.
const SILENCE: Duration = Duration::from_millis(300);

/// A server that sends back what it is sent.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    port
}

async fn connect(link: &Link) -> TcpStream {
    TcpStream::connect(("127.0.0.1", link.port())).await.unwrap()
}

async fn asked(stream: &mut TcpStream, word: &[u8; 4]) -> std::io::Result<[u8; 4]> {
    stream.write_all(word).await?;
    answer(stream).await
}

async fn answer(stream: &mut TcpStream) -> std::io::Result<[u8; 4]> {
    let mut answer = [0; 4];
    tokio::time::timeout(SOON, stream.read_exact(&mut answer)).await.expect("an answer or an error in time")?;
    Ok(answer)
}

#[tokio::test]
async fn forgotten_connections_stay_silent_and_new_ones_pass() {
    let link = Link::to(echo().await).await.unwrap();
    let mut before = connect(&link).await;
    assert_eq!(asked(&mut before, b"ping").await.unwrap(), *b"ping");
    link.set(LinkMode::BlackHole);
    let within = connect(&link).await;
    link.set(LinkMode::Forgotten);
    for mode in [LinkMode::Forgotten, LinkMode::Open] {
        link.set(mode);
        before.write_all(b"wait").await.unwrap();
        let mut byte = [0];
        assert!(tokio::time::timeout(SILENCE, before.read(&mut byte)).await.is_err(), "nothing comes, not even an end");
    }
    drop((before, within));
    let mut last = connect(&link).await;
    assert_eq!(asked(&mut last, b"ping").await.unwrap(), *b"ping");
}

#[tokio::test]
async fn a_black_hole_says_nothing_and_loses_nothing() {
    let link = Link::to(echo().await).await.unwrap();
    let mut before = connect(&link).await;
    assert_eq!(asked(&mut before, b"ping").await.unwrap(), *b"ping");
    link.set(LinkMode::BlackHole);
    let mut within = connect(&link).await;
    for stream in [&mut before, &mut within] {
        stream.write_all(b"wait").await.unwrap();
        let mut byte = [0];
        assert!(tokio::time::timeout(SILENCE, stream.read(&mut byte)).await.is_err(), "nothing comes, not even an end");
    }
    link.set(LinkMode::Open);
    assert_eq!(answer(&mut before).await.unwrap(), *b"wait");
    assert_eq!(answer(&mut within).await.unwrap(), *b"wait");
}

#[tokio::test]
async fn a_cut_link_refuses_and_a_reset_one_resets() {
    let link = Link::to(echo().await).await.unwrap();
    let mut stream = connect(&link).await;
    asked(&mut stream, b"ping").await.unwrap();
    link.set(LinkMode::Cut);
    assert_eq!(answer(&mut stream).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    eventually("connections are refused", SOON, async || {
        let refused = TcpStream::connect(("127.0.0.1", link.port())).await.err();
        Ok(refused.filter(|error| error.kind() == ErrorKind::ConnectionRefused).map(drop))
    })
    .await
    .unwrap();

    link.set(LinkMode::Open);
    let mut stream =
        eventually("it listens again", SOON, async || Ok(Some(TcpStream::connect(("127.0.0.1", link.port())).await?)))
            .await
            .unwrap();
    asked(&mut stream, b"ping").await.unwrap();
    assert_eq!(link.connections(), 1);
    link.set(LinkMode::Reset);
    assert_eq!(answer(&mut stream).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    link.set(LinkMode::Open);
    let mut stream = connect(&link).await;
    assert_eq!(asked(&mut stream, b"pong").await.unwrap(), *b"pong");
}

#[tokio::test]
async fn a_slow_link_is_late_in_both_directions() {
    let link = Link::to(echo().await).await.unwrap();
    let mut stream = connect(&link).await;
    asked(&mut stream, b"ping").await.unwrap();
    link.set(LinkMode::Slow(Duration::from_millis(100)));
    let begun = Instant::now();
    asked(&mut stream, b"ping").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
}
