//! Runs the rules of the repository: dependencies among crates, imports among files, and wording.

#[test]
fn crates_depend_only_on_what_they_may() {
    assert_eq!(acceptance::forbidden().unwrap(), Vec::<String>::new());
}

#[test]
fn files_of_a_crate_import_each_other_in_no_circle() {
    assert_eq!(acceptance::circles().unwrap(), Vec::<String>::new());
}

#[test]
fn comments_and_tests_are_written_in_plain_words() {
    let violations = acceptance::violations().unwrap();
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}
