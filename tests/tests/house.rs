//! Runs the test of allowed dependencies among the crates.

#[test]
fn crates_depend_only_on_what_they_may() {
    assert_eq!(acceptance::forbidden().unwrap(), Vec::<String>::new());
}
