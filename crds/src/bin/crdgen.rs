//! Prints one CRD manifest as JSON per line: `NAME<TAB>JSON`. `make crds` writes them as files.

fn main() -> Result<(), serde_json::Error> {
    for crd in crds::manifest::hub_crds() {
        println!("{}", serde_json::to_string_pretty(&crd)?);
    }
    Ok(())
}
