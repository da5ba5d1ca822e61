//! Formats messages of many clusters for people: the cause first, equal messages once. Pure.

/// Maximum number of names shown of a list that is cut.
const NAMES_SHOWN: usize = 5;
/// Maximum length in bytes of a refused value that is shown with its cause.
const VALUE_MAX: usize = 40;
/// Replaces the name of each cluster where messages differ only in that name.
///
/// The user puts a name in its place, as with the placeholders of `--help`.
const ANY_CLUSTER: &str = "CLUSTER";

/// A message about one place. A place is a cell or a cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    /// Name of the cell or cluster.
    pub(crate) place: &'a str,
    /// Cluster of the place.
    pub(crate) cluster: &'a str,
    /// Empty if the place has no problem.
    pub(crate) message: &'a str,
}

/// Messages of a table that has one row for each place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grouped {
    /// For each row: its own message, or the number of a message that several places share.
    pub(crate) column: Vec<String>,
    /// Text below the table: each shared message with its places. Empty if no message is shared.
    pub(crate) below: String,
}

/// Moves each message that several places share below the table, so that it appears once.
pub(crate) fn grouped(all: &[Said<'_>]) -> Grouped {
    let plain: Vec<(String, String)> = all
        .iter()
        .map(|said| {
            let message = cause_first(said.message);
            (without_name(&message, said.cluster), message)
        })
        .collect();
    let mut shared: Vec<&str> = Vec::new();
    for (index, (key, _)) in plain.iter().enumerate() {
        let is_first = plain[..index].iter().all(|(earlier, _)| earlier != key);
        if is_first && !key.is_empty() && plain[index + 1..].iter().any(|(later, _)| later == key) {
            shared.push(key);
        }
    }
    let number = |key: &str| shared.iter().position(|one| *one == key).map(|index| index + 1);
    let column = plain
        .iter()
        .map(|(key, message)| match number(key) {
            Some(number) => format!("[{number}]"),
            None if message.is_empty() => "-".to_owned(),
            None => message.clone(),
        })
        .collect();
    let below = shared.iter().enumerate().map(|(index, key)| {
        let places = all.iter().zip(&plain).filter(|(_, (other, _))| other == key).map(|(said, _)| said.place);
        format!("[{}] {}: {key}\n", index + 1, bounded(&places.collect::<Vec<_>>()))
    });
    Grouped { column, below: below.collect() }
}

/// Joins names. A long list is cut to its first names and the number of the others.
pub(crate) fn bounded(names: &[&str]) -> String {
    if names.len() <= NAMES_SHOWN + 1 {
        return names.join(", ");
    }
    format!("{} and {} more", names[..NAMES_SHOWN].join(", "), names.len() - NAMES_SHOWN)
}

/// Replaces the cluster's name in a message by [`ANY_CLUSTER`] where the name is a whole word.
fn without_name(message: &str, cluster: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let mut text = String::new();
    let mut word = String::new();
    for c in message.chars().chain([' ']) {
        if is_name(c) {
            word.push(c);
            continue;
        }
        let ended = std::mem::take(&mut word);
        text.push_str(if ended == cluster { ANY_CLUSTER } else { &ended });
        text.push(c);
    }
    text.pop();
    text
}

/// Puts the cause before its subject, and removes dumps of an API server's structs.
///
/// An API server returns `Deployment.apps "web" is invalid: spec.selector: Invalid value: v1.LabelSelector{…}: field is
/// immutable`. The user needs `spec.selector: field is immutable`, and the object's name where the context lacks it.
pub(crate) fn cause_first(message: &str) -> String {
    let text = without_values(message.trim());
    let Some((before, cause)) = text.split_once(" is invalid: ") else { return text };
    let start = subject_start(before);
    let (lead, subject) = before.split_at(start);
    let cause = cause.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap_or(cause);
    format!("{lead}{cause} ({subject})")
}

/// Returns where `Kind.group "name"` begins at the end of a text, or 0 if the text has no such end.
fn subject_start(text: &str) -> usize {
    let name = text.strip_suffix('"').and_then(|text| text.rfind('"'));
    let Some(kind_end) = name.and_then(|at| text[..at].strip_suffix(' ')).map(str::len) else { return 0 };
    text[..kind_end].rfind([' ', '\n']).map_or(0, |at| at + 1)
}

/// Removes VALUE from each `Invalid value: VALUE: cause` if it is a struct or too long.
fn without_values(message: &str) -> String {
    const MARK: &str = "Invalid value: ";
    let mut text = String::new();
    let mut rest = message;
    while let Some((before, after)) = rest.split_once(MARK) {
        text.push_str(before);
        let Some(end) = value_end(after) else {
            // The message was cut within the value.
            text.push_str("invalid value …");
            return text;
        };
        let value = &after[..end];
        rest = after[end..].strip_prefix(": ").unwrap_or_default();
        if value.len() <= VALUE_MAX && !value.contains('{') {
            text.push_str(&format!("{value}: "));
        }
    }
    text + rest
}

/// Returns where a value printed by an API server ends: at a colon outside of quotes and brackets.
fn value_end(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth = depth.saturating_sub(1),
            ':' if depth == 0 && text[at..].starts_with(": ") => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_comes_first_and_structs_are_left_out() {
        for (case, message, expected) in [
            (
                "a Go struct",
                r#"Deployment.apps "web" is invalid: spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{"app":"a: b"}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable"#,
                r#"spec.selector: field is immutable (Deployment.apps "web")"#,
            ),
            (
                "JSON of newer servers",
                r#"Deployment.apps "web" is invalid: spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable"#,
                r#"spec.selector: field is immutable (Deployment.apps "web")"#,
            ),
            (
                "several, with short values, after our own words",
                r#"apply: Service "web" is invalid: [spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, spec.type: Invalid value: "Odd": is not known]"#,
                r#"apply: spec.ports[0].port: 0: must be between 1 and 65535, spec.type: "Odd": is not known (Service "web")"#,
            ),
            (
                "cut within the struct",
                r#"Deployment.apps "web" is invalid: spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[stri…"#,
                r#"spec.selector: invalid value … (Deployment.apps "web")"#,
            ),
            ("another message", "no answer for 20 s: connection refused", "no answer for 20 s: connection refused"),
            ("no subject", "the object is invalid: x", "x (the object)"),
            ("nothing", "", ""),
        ] {
            assert_eq!(cause_first(message), expected, "{case}");
        }
    }

    #[test]
    fn shared_messages_of_many_clusters_are_shown_once() {
        let names: Vec<String> = (1..=8).map(|number| format!("north-{number}")).collect();
        let messages: Vec<String> = names
            .iter()
            .map(|name| format!("cluster {name} is cordoned; `meridian cluster uncordon {name}` ends that"))
            .collect();
        let mut all: Vec<Said<'_>> =
            names.iter().zip(&messages).map(|(name, message)| Said { place: name, cluster: name, message }).collect();
        all.push(Said { place: "south", cluster: "south", message: "no room" });
        all.push(Said { place: "east", cluster: "east", message: "" });
        let shown = grouped(&all);
        assert_eq!(shown.column[..8], ["[1]"; 8]);
        assert_eq!(shown.column[8..], ["no room", "-"]);
        assert_eq!(
            shown.below,
            "[1] north-1, north-2, north-3, north-4, north-5 and 3 more: cluster CLUSTER is cordoned; \
             `meridian cluster uncordon CLUSTER` ends that\n"
        );
    }

    #[test]
    fn a_name_within_a_longer_one_is_no_name() {
        assert_eq!(
            without_name("north-1 is not north, nor north.example", "north"),
            "north-1 is not CLUSTER, nor north.example"
        );
        let one = |place| Said { place, cluster: place, message: "" };
        assert_eq!(
            grouped(&[one("a"), one("b")]),
            Grouped { column: vec!["-".into(), "-".into()], below: String::new() }
        );
    }
}
