//! The process of one operator.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use testbed::{Bed, Link, Process, free_ports};

/// Timeout for a response of the probes port.
const ANSWER: Duration = Duration::from_secs(5);

/// Time settings of an operator, in seconds. `None` keeps the operator's own default.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Duration of a lease.
    pub lease: f64,
    /// Interval between two reads of everything.
    pub look_again: f64,
    /// Duration of silence after which a member is Unknown.
    pub silence: Option<f64>,
    /// Interval between two probes of a quiet member.
    pub probe: Option<f64>,
    /// Age after which recorded facts are stale.
    pub stale_after: Option<f64>,
    /// Duration of continuous health after which a member is Ready again.
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

/// An operator: its process, and the links between it and the servers that it uses.
#[derive(Debug)]
pub struct Operator {
    /// Process of the operator.
    pub process: Process,
    /// Port of probes and metrics.
    pub probes: u16,
    /// Identity under which the operator holds leases.
    pub identity: String,
    /// Link to the database, if the plan of the fleet asks for faults.
    pub database: Option<Link>,
    /// Link to the hub, if the plan of the fleet asks for faults.
    pub hub: Option<Link>,
}

impl Operator {
    /// Prepares an operator without starting it.
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

    /// Returns the response of the probes port: status line, headers and body.
    ///
    /// # Errors
    /// If no process listens on the port or responds in time.
    pub fn probe(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.probes))?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Returns the value of a metric, by its printed name and labels; 0 if the metric is not printed.
    ///
    /// # Errors
    /// If the operator does not respond.
    pub fn metric(&self, series: &str) -> anyhow::Result<f64> {
        let text = self.probe("/metrics")?;
        let found = text.lines().filter_map(|line| line.rsplit_once(' ')).find(|(name, _)| *name == series);
        Ok(found.map_or(Ok(0.0), |(_, value)| value.parse())?)
    }
}
