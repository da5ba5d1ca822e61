//! Shortens messages of members for conditions, events and tables: the cause first. Pure.

use std::collections::BTreeMap;

/// Maximum number of clusters that a grouped message names.
const CLUSTERS_NAMED_MAX: usize = 3;
/// Mark in place of omitted text.
const OMITTED: &str = " … ";

/// Reduces a member's message to its cause.
///
/// The dump of a Go value is dropped. So is the name of the object, which is shown beside the message.
///
/// API servers write `Job.batch "x" is invalid: spec.template: Invalid value: core.PodTemplateSpec{…}: field is
/// immutable`. The dump may be kilobytes long, and the cause follows it.
pub fn cause(message: &str) -> String {
    let message = without_go_values(message);
    match message.split_once("\" is invalid: ") {
        // The text before the mark is only `Kind.group "name`, and no earlier failure.
        Some((object, why)) if !object.contains(": ") => why.to_owned(),
        _ => message,
    }
}

/// Drops each `Invalid value: type{…}: ` with the dump of the value. Texts and numbers stay.
fn without_go_values(message: &str) -> String {
    const MARK: &str = "Invalid value: ";
    let mut kept = String::new();
    let mut rest = message;
    while let Some(at) = rest.find(MARK) {
        let value = &rest[at + MARK.len()..];
        let Some(length) = go_value_length(value) else {
            kept.push_str(&rest[..at + MARK.len()]);
            rest = value;
            continue;
        };
        kept.push_str(&rest[..at]);
        rest = value[length..].strip_prefix(": ").unwrap_or(&value[length..]);
    }
    kept.push_str(rest);
    kept
}

/// Returns the length of a dump at the beginning of a text, such as `&v1.Pod{Name:"x"}`.
///
/// Another example is `map[string]string{"a":"b"}`. A text that begins with something else gives `None`. A dump that
/// was cut ends at its mark.
fn go_value_length(text: &str) -> Option<usize> {
    let open = text.find('{')?;
    let is_type = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '&' | '*' | '[' | ']' | '/');
    if open == 0 || !text[..open].chars().all(is_type) {
        return None;
    }
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    // More closing braces remain where the middle of the dump was cut out.
                    let end = text[at..].find(|c| c != '}').map_or(text.len(), |more| at + more);
                    return Some(end);
                }
            }
            _ => {}
        }
    }
    // The dump was cut in the middle. The cause follows its last brace.
    Some(text.rfind("}: ").map_or(text.len(), |at| at + 1))
}

/// Shortens a message to at most `limit` bytes by omitting its middle.
///
/// A message begins with the failed operation and ends with the reason, so both stay.
pub fn shorten(message: &str, limit: usize) -> String {
    if message.len() <= limit {
        return message.to_owned();
    }
    let room = limit.saturating_sub(OMITTED.len());
    let head = message.floor_char_boundary(room.div_ceil(2));
    let tail = message.ceil_char_boundary(message.len() - room / 2);
    format!("{}{OMITTED}{}", &message[..head], &message[tail..])
}

/// An object in a cluster, and its problem.
#[derive(Debug, Clone, Copy)]
pub struct Trouble<'a> {
    /// Name of the cluster.
    pub cluster: &'a str,
    /// Kind and name of the object.
    pub object: &'a str,
    /// Message from the member.
    pub message: &'a str,
}

/// Joins troubles in one text of at most `limit` bytes, in their order.
///
/// Each cause appears once, with its objects and the names of a few clusters.
pub fn group_causes(troubles: &[Trouble<'_>], limit: usize) -> String {
    let mut order: Vec<(String, &str)> = Vec::new();
    let mut clusters: BTreeMap<(String, &str), Vec<&str>> = BTreeMap::new();
    for trouble in troubles {
        let key = (cause(trouble.message), trouble.object);
        let named = clusters.entry(key.clone()).or_insert_with(|| {
            order.push(key);
            Vec::new()
        });
        if !named.contains(&trouble.cluster) {
            named.push(trouble.cluster);
        }
    }
    let groups = order.len().max(1);
    let texts = order.iter().map(|key| {
        let place = format!(" ({} in {})", key.1, names(&clusters[key]));
        let room = (limit / groups).saturating_sub(place.len() + 2).max(limit / 8);
        format!("{}{place}", shorten(&key.0, room))
    });
    shorten(&texts.collect::<Vec<_>>().join("; "), limit)
}

fn names(clusters: &[&str]) -> String {
    let named = clusters.iter().take(CLUSTERS_NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    let more = clusters.len().saturating_sub(CLUSTERS_NAMED_MAX);
    if more > 0 { format!("{named} and {more} more clusters") } else { named }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn immutable() -> String {
        let dump = format!(
            "core.PodTemplateSpec{{ObjectMeta:v1.ObjectMeta{{Name:\"\", Labels:map[string]string{{\"a\":\"}}\\\"{{\"}}}}, Spec:{}}}",
            "core.PodSpec{}, ".repeat(400)
        );
        format!("Job.batch \"once\" is invalid: spec.template: Invalid value: {dump}: field is immutable")
    }

    #[test]
    fn cause_leads_and_go_values_are_dropped() {
        let cut = format!("{} … x}}}}: field is immutable", &immutable()[..2000]);
        for (case, message, expected) in [
            ("a dump", immutable().as_str(), "spec.template: field is immutable"),
            ("a dump that was cut", cut.as_str(), "spec.template: field is immutable"),
            (
                "a text stays",
                "Service \"web\" is invalid: spec.ports[1].name: Invalid value: \"a{b}\": must be unique",
                "spec.ports[1].name: Invalid value: \"a{b}\": must be unique",
            ),
            (
                "two of them",
                "X \"x\" is invalid: [a: Invalid value: v1.A{B:1}: no, b: Invalid value: &v1.C{}: never]",
                "[a: no, b: never]",
            ),
            (
                "what a webhook denied",
                "admission webhook \"w.example.org\" denied the request: Job \"x\" is invalid: no",
                "admission webhook \"w.example.org\" denied the request: Job \"x\" is invalid: no",
            ),
            ("nothing of that", "namespaces \"shop\" not found", "namespaces \"shop\" not found"),
        ] {
            assert_eq!(cause(message), expected, "{case}");
        }
    }

    #[test]
    fn long_messages_keep_their_beginning_and_end() {
        let long = format!("begins {} ends", "ä".repeat(5_000));
        for limit in [64, 255, 1_024] {
            let short = shorten(&long, limit);
            assert!(
                short.len() <= limit && short.starts_with("begins") && short.ends_with(" ends"),
                "{limit}: {short}"
            );
        }
        assert_eq!(shorten("short", 5), "short");
    }

    #[test]
    fn equal_causes_of_many_clusters_are_told_once() {
        let message = immutable();
        let trouble = |cluster, object, message| Trouble { cluster, object, message };
        let job = |cluster| trouble(cluster, "Job once", message.as_str());
        let other = trouble("south", "Service web", "port is taken");
        let five = [job("a"), job("b"), job("c"), other, job("d"), job("e"), job("a")];
        for (case, troubles, expected) in [
            ("one", &five[..1], "spec.template: field is immutable (Job once in a)"),
            (
                "many",
                &five[..],
                "spec.template: field is immutable (Job once in a, b, c and 2 more clusters); port is taken (Service web in south)",
            ),
            ("none", &[], ""),
        ] {
            assert_eq!(group_causes(troubles, 1_024), expected, "{case}");
        }
        let long = "x".repeat(3_000) + " field is immutable";
        let all: Vec<Trouble<'_>> = ["a", "b"].map(|cluster| trouble(cluster, "Job once", long.as_str())).to_vec();
        let text = group_causes(&all, 1_024);
        assert!(text.len() <= 1_024 && text.ends_with("field is immutable (Job once in a, b)"), "{text}");
    }
}
