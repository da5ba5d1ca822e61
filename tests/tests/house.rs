//! Rules of the house.

#[test]
fn crates_depend_only_on_what_they_may() {
    assert_eq!(acceptance::forbidden().unwrap(), Vec::<String>::new());
}
