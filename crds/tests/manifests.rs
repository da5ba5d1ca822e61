//! The manifests on disk are those of the types.

#[test]
fn manifests_on_disk_are_current() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let files = crds::manifest::files().unwrap();
    for (file, text) in &files {
        let stored = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        assert!(stored == *text, "crds/manifests/{file} is out of date; run `make crds`");
    }
    let on_disk = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(on_disk, files.len(), "crds/manifests holds files of no kind; remove them");
}
