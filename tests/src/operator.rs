//! One operator's process.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use testbed::{Bed, Link, Process, free_ports};

/// Longest time for an answer of the probes port.
const ANSWER: Duration = Duration::from_secs(5);

/// What operators are told about time, in seconds; what is left out keeps the operator's own default.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// How long a lease lasts.
    pub lease: f64,
    /// Between two looks at everything.
    pub look_again: f64,
    /// Silence after which a member is Unknown.
    pub silence: Option<f64>,
    /// Between two looks at a quiet member.
    pub probe: Option<f64>,
    /// Age after which facts are stale.
    pub stale_after: Option<f64>,
    /// Continuous well-being after which a member counts as Ready again.
    pub recovery: Option<f64>,
    /// Window of the mass-delete guard.
    pub delete_window: Option<f64>,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            lease: 1.0,
            look_again: 5.0,
            silence: None,
            probe: None,
            stale_after: None,
            recovery: None,
            delete_window: None,
        }
    }
}

impl Times {
    fn arguments(self) -> String {
        let flags = [
            ("--lease", Some(self.lease)),
            ("--look-again", Some(self.look_again)),
            ("--member-silence", self.silence),
            ("--member-probe", self.probe),
            ("--stale-after", self.stale_after),
            ("--member-recovery", self.recovery),
            ("--delete-window", self.delete_window),
        ];
        let given = flags.iter().filter_map(|(flag, value)| Some(format!("{flag} {}", (*value)?)));
        given.collect::<Vec<_>>().join(" ")
    }
}

/// An operator: its process, and what lies between it and what it needs.
#[derive(Debug)]
pub struct Operator {
    /// The process.
    pub process: Process,
    /// Port of probes and metrics.
    pub probes: u16,
    /// Name under which it holds leases.
    pub identity: String,
    /// The link to the database, where the fleet's plan asks for faults.
    pub database: Option<Link>,
    /// The link to the hub, where the fleet's plan asks for faults.
    pub hub: Option<Link>,
}

impl Operator {
    /// An operator that is not started yet.
    pub(crate) async fn new(
        number: usize,
        program: &Path,
        bed: &Bed,
        times: Times,
        faults: bool,
    ) -> anyhow::Result<Self> {
        let identity = format!("operator-{number}");
        let folder = bed.folder().join(&identity);
        std::fs::create_dir_all(&folder)?;
        let [probes] = free_ports()?;
        let (mut url, mut kubeconfig) = (bed.postgres.url(), bed.hub.kubeconfig());
        let (mut database, mut hub) = (None, None);
        if faults {
            let link = Link::to(bed.postgres.port()).await?;
            url = url.replace(&format!(":{}/", bed.postgres.port()), &format!(":{}/", link.port()));
            database = Some(link);
            let link = Link::to(bed.hub.port()).await?;
            let text = std::fs::read_to_string(&kubeconfig)?.replace(&bed.hub.server_url(), &link.https());
            kubeconfig = folder.join("hub.kubeconfig");
            std::fs::write(&kubeconfig, text)?;
            hub = Some(link);
        }
        let process = Process::new(&identity, program, &folder)
            .arguments(&format!(
                "--log-format text run --database-url {url} --kubeconfig {} --envelope-key-file {} \
                 --probes-address 127.0.0.1:{probes} --identity {identity} {}",
                kubeconfig.display(),
                bed.folder().join("envelope.key").display(),
                times.arguments(),
            ))
            .ends_by("TERM");
        Ok(Self { process, probes, identity, database, hub })
    }

    /// What it answers on its probes port: status line, headers and body.
    ///
    /// # Errors
    /// When nobody listens or answers in time.
    pub fn probe(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.probes))?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The value of a metric, by the name and labels it is printed with; 0 when it is not printed.
    ///
    /// # Errors
    /// When the operator does not answer.
    pub fn metric(&self, series: &str) -> anyhow::Result<f64> {
        let text = self.probe("/metrics")?;
        let found = text.lines().filter_map(|line| line.rsplit_once(' ')).find(|(name, _)| *name == series);
        Ok(found.map_or(Ok(0.0), |(_, value)| value.parse())?)
    }
}
