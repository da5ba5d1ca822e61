//! Finds the programs that a bed runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, bail};

/// Returns the folder of the Kubernetes programs.
///
/// Missing programs are built first, which takes minutes once.
///
/// # Errors
/// If the programs cannot be built.
pub fn tools() -> anyhow::Result<PathBuf> {
    static TOOLS: OnceLock<PathBuf> = OnceLock::new();
    if let Some(tools) = TOOLS.get() {
        return Ok(tools.clone());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/build.sh");
    let built =
        Command::new("bash").arg(&script).stderr(Stdio::inherit()).output().context("running tests/tools/build.sh")?;
    if !built.status.success() {
        bail!("tests/tools/build.sh failed; it says why above");
    }
    let path = PathBuf::from(String::from_utf8(built.stdout)?.trim());
    Ok(TOOLS.get_or_init(|| path).clone())
}

/// Returns the folder of the `PostgreSQL` server programs.
///
/// The newest version below `/usr/lib/postgresql` is used, otherwise the first one in `PATH`.
///
/// # Errors
/// If there are none.
pub fn postgres_tools() -> anyhow::Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, path)| path.join("initdb").exists())
        .max();
    if let Some((_, path)) = newest {
        return Ok(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|folder| folder.join("initdb").exists())
        .context("PostgreSQL's server programs were not found; install them, on Debian: apt-get install postgresql")
}
