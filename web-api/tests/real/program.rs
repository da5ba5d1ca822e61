//! The program itself: tokens by its commands, requests over TLS.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use store::Store;
use testbed::{Bed, eventually, free_ports};

use crate::client::Client;

/// Ends the program when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(database: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meridian-web-api"));
    command.env("DATABASE_URL", database).args(["--log-format", "text"]);
    command
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn program_serves_tls_with_a_bootstrapped_token() {
    let bed = Bed::builder().start().await.unwrap();
    let database = bed.postgres.url();
    let store = Store::open(&database, 1).unwrap();
    store.migrate().await.unwrap();

    // A token is made with the database's URL alone, and printed once.
    let made = command(&database)
        .args(["token", "create", "--bootstrap", "--name", "first", "--role", "admin", "--expires", "24h"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let token = String::from_utf8(made.stdout).unwrap().lines().last().unwrap().to_owned();
    assert!(token.starts_with("mrd_"), "{token}");
    let listed = command(&database).args(["token", "list"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("token/first") && !listed.contains(token.rsplit('_').next().unwrap()), "{listed}");

    // Without TLS the program serves loopback only.
    let key_file = write(bed.folder(), "envelope.key", &"0a".repeat(32));
    let refused = command(&database)
        .args(["run", "--listen", "0.0.0.0:0", "--envelope-key-file", &key_file])
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(!refused.status.success());

    // Over TLS it answers to the token, and says who it belongs to.
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let [port, probes] = free_ports().unwrap();
    let child = command(&database)
        .args(["run", "--listen", &format!("127.0.0.1:{port}"), "--probes-address", &format!("127.0.0.1:{probes}")])
        .args(["--tls-cert-file", &write(bed.folder(), "tls.crt", &certificate.pem())])
        .args(["--tls-key-file", &write(bed.folder(), "tls.key", &key.serialize_pem())])
        .args(["--envelope-key-file", &key_file])
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let probe = Client::new(format!("http://127.0.0.1:{probes}"), None);
    eventually("the program is ready", Duration::from_mins(1), async || {
        let Ok(_) = tokio::net::TcpStream::connect(("127.0.0.1", probes)).await else { return Ok(None) };
        Ok((probe.get("/readyz").await.status == 200).then_some(()))
    })
    .await
    .unwrap();
    let anonymous = Client::new(format!("https://localhost:{port}"), Some(certificate.der().clone()));
    anonymous.get("/api/v1/operations").await.expect(401);
    let client = anonymous.with_token(&token);
    assert_eq!(client.get("/api/v1/operations").await.expect(200)["items"], serde_json::json!([]));

    // A revoked token is refused within ten seconds.
    let id = store.api_token_list().await.unwrap()[0].id.to_string();
    assert!(command(&database).args(["token", "revoke", &id]).status().unwrap().success());
    eventually("the revoked token is refused", Duration::from_secs(15), async || {
        Ok((client.get("/api/v1/operations").await.status == 401).then_some(()))
    })
    .await
    .unwrap();

    // It ends by itself when asked to.
    let asked = Command::new("kill").args(["-TERM", &running.0.id().to_string()]).status().unwrap();
    assert!(asked.success());
    eventually("the program ends", Duration::from_secs(15), async || Ok(running.0.try_wait()?)).await.unwrap();
    store.close().await;
}
