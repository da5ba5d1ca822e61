//! A hub, its members and a database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use futures::future::try_join_all;

use crate::plane::Plane;
use crate::postgres::Postgres;
use crate::store::{EtcdStore, Revisions, Snapshot};
use crate::tools::tools;

/// Plan of a member cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberSpec {
    /// Name of the plane.
    pub name: String,
    /// Region of all nodes.
    pub region: String,
    /// Zones of the nodes.
    pub zones: Vec<String>,
    /// Number of simulated nodes in each zone.
    pub nodes_per_zone: usize,
    /// Allocatable CPU of a node, as a quantity.
    pub cpu: String,
    /// Allocatable memory of a node, as a quantity.
    pub memory: String,
    /// Maximum number of pods on a node, as a quantity.
    pub pods: String,
}

impl MemberSpec {
    /// Plans a member with two nodes of 16 CPUs and 64 GiB in each zone.
    pub fn new(name: &str, region: &str, zones: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            region: region.to_owned(),
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
            nodes_per_zone: 2,
            cpu: "16".to_owned(),
            memory: "64Gi".to_owned(),
            pods: "110".to_owned(),
        }
    }

    /// Plans three members in two regions and three zones.
    pub fn usual() -> Vec<Self> {
        vec![
            Self::new("north-a", "north", &["n1"]),
            Self::new("north-b", "north", &["n2"]),
            Self::new("south-a", "south", &["s1"]),
        ]
    }

    pub(crate) fn node_count(&self) -> usize {
        self.zones.len() * self.nodes_per_zone
    }
}

/// Plan of a bed.
#[derive(Debug, Default)]
pub struct BedBuilder {
    folder: Option<PathBuf>,
    members: Vec<MemberSpec>,
    standbys: usize,
    own_etcd: bool,
    durable: bool,
}

impl BedBuilder {
    /// Sets the folder of all data, which stays after the bed ends.
    ///
    /// By default, the bed makes a temporary folder and removes it.
    #[must_use]
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Adds a member.
    #[must_use]
    pub fn member(mut self, member: MemberSpec) -> Self {
        self.members.push(member);
        self
    }

    /// Adds members.
    #[must_use]
    pub fn members(mut self, members: Vec<MemberSpec>) -> Self {
        self.members.extend(members);
        self
    }

    /// Sets the number of standbys of the database, at most two.
    #[must_use]
    pub fn standbys(mut self, standbys: usize) -> Self {
        self.standbys = standbys;
        self
    }

    /// Gives each plane its own etcd, so that one of them can be stopped alone.
    #[must_use]
    pub fn own_etcd(mut self) -> Self {
        self.own_etcd = true;
        self
    }

    /// Makes the database durable, as in production: committed data survives a crash of the machine.
    ///
    /// By default the database does not wait for the disk.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Starts all servers and waits until they work.
    ///
    /// # Errors
    /// If a server does not start. The error contains the end of its log.
    pub async fn start(self) -> anyhow::Result<Bed> {
        let tools = tools()?;
        let (folder, keep) = match self.folder {
            Some(folder) => (folder, true),
            None => (temporary_folder()?, false),
        };
        std::fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        let mut names = vec!["hub".to_owned()];
        names.extend(self.members.iter().map(|member| member.name.clone()));
        let stores = if self.own_etcd { names.clone() } else { vec!["shared".to_owned()] };
        let mut etcds = BTreeMap::new();
        for store in stores {
            let etcd = EtcdStore::start(&tools, &folder, &store)?;
            etcds.insert(store, etcd);
        }
        let port_of =
            |name: &str| etcds.get(name).or_else(|| etcds.get("shared")).map(EtcdStore::port).context("an etcd");
        let mut starts = Vec::new();
        for name in &names {
            let member = self.members.iter().find(|member| member.name == *name);
            starts.push(Plane::start(&tools, &folder, name, port_of(name)?, member));
        }
        let (postgres, planes) =
            tokio::try_join!(Postgres::start(&folder, self.standbys, self.durable), try_join_all(starts))?;
        let mut members: BTreeMap<String, Plane> =
            planes.into_iter().map(|plane| (plane.name().to_owned(), plane)).collect();
        let hub = members.remove("hub").context("the hub was started")?;
        Ok(Bed { postgres, hub, members, etcds, folder, keep })
    }
}

fn temporary_folder() -> anyhow::Result<PathBuf> {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.subsec_nanos();
    let folder = std::env::temp_dir().join(format!("meridian-bed-{}-{nanos}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A running hub with its members and database. Dropping the bed ends all of them.
#[derive(Debug)]
pub struct Bed {
    /// Database of the operators.
    pub postgres: Postgres,
    /// The hub, which has no scheduler and no nodes.
    pub hub: Plane,
    /// Members by name.
    pub members: BTreeMap<String, Plane>,
    /// Etcds by the name of their plane, or `shared`.
    pub etcds: BTreeMap<String, EtcdStore>,
    folder: PathBuf,
    keep: bool,
}

impl Bed {
    /// Begins the plan of a bed.
    pub fn builder() -> BedBuilder {
        BedBuilder::default()
    }

    /// Folder of all logs and data.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns a member.
    ///
    /// # Errors
    /// If there is no member of that name.
    pub fn member(&self, name: &str) -> anyhow::Result<&Plane> {
        self.members.get(name).with_context(|| format!("there is no member {name}"))
    }

    /// Returns the hub or a member.
    ///
    /// # Errors
    /// If there is no member of that name.
    pub fn plane_mut(&mut self, name: &str) -> anyhow::Result<&mut Plane> {
        if name == "hub" { Ok(&mut self.hub) } else { self.member_mut(name) }
    }

    /// Copies all data of a plane.
    ///
    /// # Errors
    /// If the plane has no etcd of its own, or its data cannot be copied.
    pub async fn snapshot(&mut self, plane: &str, name: &str) -> anyhow::Result<Snapshot> {
        let snapshot = self.etcd_mut(plane)?.snapshot(name)?;
        self.plane_mut(plane)?.ready().await?;
        Ok(snapshot)
    }

    /// Restores a plane to a snapshot, or to an empty state, and waits until the plane works.
    ///
    /// The plane keeps its keys, so its clients still accept it.
    ///
    /// # Errors
    /// If the plane has no etcd of its own, or does not start again.
    pub async fn restore(
        &mut self,
        plane: &str,
        snapshot: Option<&Snapshot>,
        revisions: Revisions,
    ) -> anyhow::Result<()> {
        self.plane_mut(plane)?.stop_all()?;
        self.etcd_mut(plane)?.restore(snapshot, revisions)?;
        self.plane_mut(plane)?.start_all().await
    }

    /// Returns a plane's own etcd.
    ///
    /// # Errors
    /// If the bed was not built with [`BedBuilder::own_etcd`].
    pub fn etcd_mut(&mut self, plane: &str) -> anyhow::Result<&mut EtcdStore> {
        self.etcds.get_mut(plane).with_context(|| format!("{plane} has no etcd of its own"))
    }

    /// Keeps logs and data after the bed ends.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// Returns a member, so that its servers can be stopped and started.
    ///
    /// # Errors
    /// If there is no member of that name.
    pub fn member_mut(&mut self, name: &str) -> anyhow::Result<&mut Plane> {
        self.members.get_mut(name).with_context(|| format!("there is no member {name}"))
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the bed's logs and data stay in {}", self.folder.display());
            return;
        }
        if !self.keep {
            // Servers may write here for another moment. Leftovers are in a temporary folder.
            for plane in std::iter::once(&mut self.hub).chain(self.members.values_mut()) {
                plane.end();
            }
            self.etcds.clear();
            let _ = self.postgres.primary.end();
            self.postgres.standbys.clear();
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
