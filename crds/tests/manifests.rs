//! Checks that the manifests on disk equal those generated from the types.

#[test]
fn manifests_on_disk_are_current() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = crds::manifest::files().unwrap();
    for (file, text) in &files {
        let stored = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        assert!(stored == *text, "crds/{file} is out of date; run `make crds`");
    }
    let on_disk: usize =
        ["manifests", "admission"].iter().map(|part| std::fs::read_dir(folder.join(part)).unwrap().count()).sum();
    assert_eq!(on_disk, files.len(), "crds/manifests or crds/admission holds files of nothing; remove them");
}
