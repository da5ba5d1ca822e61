//! Rules for the wording of comments and of test names, and for the size of files.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// Words that comments must not use: private metaphors, and verbs of people used of programs.
const REFUSED_WORDS: [&str; 15] = [
    "tells", "hears", "heard", "whoever", "nobody", "somebody", "sift", "sifts", "wish", "wishes", "pulse", "crowd",
    "speaks", "sink", "rests",
];
/// Maximum number of characters of a test name.
const TEST_NAME_MAX: usize = 60;
/// Maximum number of lines of a file.
const FILE_LINES_MAX: usize = 400;
/// Files whose length the API gives: types of CRDs.
const LONG_FILES: &str = "crds/src/";

/// Returns every violation in the sources of the repository, as a sentence.
///
/// # Errors
/// If a source cannot be read.
pub fn violations() -> anyhow::Result<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a parent folder")?;
    let mut found = Vec::new();
    for path in sources(root)? {
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        // The list itself stands there.
        if !name.ends_with("tests/src/wording.rs") {
            found.extend(in_source(&name, &text));
        }
    }
    Ok(found)
}

/// Rust files of the repository, without build output.
pub(crate) fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn in_source(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > FILE_LINES_MAX && !name.starts_with(LONG_FILES) {
        found.push(format!("{name} has {} lines, more than {FILE_LINES_MAX}; split it by steps", lines.len()));
    }
    let mut is_test = false;
    for (number, line) in lines.iter().enumerate() {
        let place = format!("{name}:{}", number + 1);
        let line = line.trim();
        if let Some(comment) = line.strip_prefix("//") {
            if let Some(word) = refused_word(comment) {
                found.push(format!("{place}: the comment uses {word:?}; write it in plain words"));
            }
            if line.starts_with("///") && lines.get(number + 1).is_some_and(|next| is_echo(comment, next)) {
                found.push(format!("{place}: the comment repeats the name; delete it or add to it"));
            }
        }
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(test) = test_name(line).filter(|_| is_test) {
            is_test = false;
            if test.len() > TEST_NAME_MAX || test.starts_with("what_") || test.starts_with("who_") {
                found.push(format!("{place}: {test} names no behaviour in {TEST_NAME_MAX} characters"));
            }
        }
    }
    found
}

/// The first refused word of a comment. Code in backticks is not looked at.
fn refused_word(comment: &str) -> Option<&'static str> {
    let prose: String = comment.split('`').step_by(2).collect();
    let mut words = prose.split(|letter: char| !letter.is_alphanumeric());
    words.find_map(|word| REFUSED_WORDS.into_iter().find(|refused| refused.eq_ignore_ascii_case(word)))
}

/// Whether a doc comment of one line says no more than the name of the item on the next line.
fn is_echo(comment: &str, next: &str) -> bool {
    let item =
        next.trim().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").trim_start_matches("pub ");
    let item = item.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).next().unwrap_or_default();
    let comment = comment.trim_start_matches('/').trim().trim_end_matches('.').to_lowercase();
    !item.is_empty() && comment.replace(' ', "_") == item.to_lowercase()
}

fn test_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_definition = before.split_whitespace().all(|word| matches!(word, "pub" | "pub(crate)" | "async"));
    after.split('(').next().filter(|_| is_definition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_of_each_rule_are_found() {
        let long = "\n".repeat(FILE_LINES_MAX + 1);
        for (case, text, count) in [
            ("plain", "/// Returns the name of the cluster.\nfn name() {}", 0),
            ("a metaphor", "// The writer hears of it.\nfn name() {}", 1),
            ("the same in code", "// Reads `heard`.", 0),
            ("an echo", "    /// Name.\n    pub name: String,", 1),
            ("a long test name", &format!("#[test]\nfn {}() {{}}", "x".repeat(61)), 1),
            ("a riddle", "#[tokio::test]\nasync fn what_is_there_stays() {}", 1),
            ("no test", "fn what_is_there() {}", 0),
            ("a long file", &long, 1),
        ] {
            assert_eq!(in_source("file.rs", text).len(), count, "{case}: {:?}", in_source("file.rs", text));
        }
    }
}
