//! Writes the manifests of the hub below a folder, one JSON file each: `crdgen FOLDER`. `make crds` runs this program.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: crdgen FOLDER")?;
    for (file, text) in crds::manifest::files()? {
        std::fs::write(folder.join(file), text)?;
    }
    Ok(())
}
