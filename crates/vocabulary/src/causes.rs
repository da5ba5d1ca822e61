//! Formats an error with all its causes in one line for people.

use std::error::Error;

/// Returns the error and its causes, separated by colons.
///
/// A cause whose text is already contained is not repeated.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Sample {
        #[error("the file is not there")]
        Inner,
        #[error("{what}")]
        Outer {
            what: &'static str,
            #[source]
            source: Box<Sample>,
        },
    }

    #[test]
    fn causes_are_told_once() {
        let outer = |what| Sample::Outer { what, source: Box::new(Sample::Inner) };
        for (error, expected) in [
            (Sample::Inner, "the file is not there"),
            (outer("reading the key"), "reading the key: the file is not there"),
            (outer("reading the key: the file is not there"), "reading the key: the file is not there"),
            (outer("the file is not there (at the key)"), "the file is not there (at the key)"),
        ] {
            assert_eq!(chain(&error), expected);
        }
    }
}
