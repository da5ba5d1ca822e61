//! Finds lists that server-side apply cannot correct. Pure.
//!
//! Server-side apply merges a list of maps by the keys of its items and keeps items of other managers. A port that
//! another manager added beside ours can make the whole list invalid. The list then has two items of one name, or two
//! without a name. No further apply corrects that.

use serde_json::Value;

/// Returns the lists that contain the refused `fields` and hold items that are not rendered.
///
/// Each list is a JSON pointer into `there`, with the rendered content.
pub(crate) fn lists_to_replace(fields: &[String], rendered: &Value, there: &Value) -> Vec<(String, Value)> {
    let mut lists: Vec<(String, Value)> = Vec::new();
    for field in fields {
        let Some((pointer, wanted, found)) = innermost_list(field, rendered, there) else { continue };
        let is_foreign = |item: &Value| !wanted.iter().any(|own| is_same_item(own, item));
        if found.iter().any(is_foreign) && !lists.iter().any(|(known, _)| *known == pointer) {
            lists.push((pointer, Value::Array(wanted.clone())));
        }
    }
    lists
}

/// Whether a live item is the rendered item, possibly with fields that the member added.
fn is_same_item(own: &Value, live: &Value) -> bool {
    match (own, live) {
        (Value::Object(own), Value::Object(live)) => own.iter().all(|(key, value)| live.get(key) == Some(value)),
        (own, live) => own == live,
    }
}

/// Finds the innermost list around a field such as `spec.ports[1].name`, in both objects.
///
/// Items of outer lists are matched by name, because their order may differ.
fn innermost_list<'a>(
    field: &str,
    rendered: &'a Value,
    there: &'a Value,
) -> Option<(String, &'a Vec<Value>, &'a Vec<Value>)> {
    let (path, _) = field.rsplit_once('[')?;
    let (mut pointer, mut own, mut live) = (String::new(), rendered, there);
    for segment in path.split('.') {
        let (name, index) = match segment.split_once('[') {
            Some((name, index)) => (name, Some(index.trim_end_matches(']').parse::<usize>().ok()?)),
            None => (segment, None),
        };
        (own, live) = (own.get(name)?, live.get(name)?);
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        if let Some(index) = index {
            let item = own.get(index)?;
            let at = live
                .as_array()?
                .iter()
                .position(|live| item.get("name").is_some() && live.get("name") == item.get("name"))?;
            (own, live) = (item, live.get(at)?);
            pointer.push_str(&format!("/{at}"));
        }
    }
    Some((pointer, own.as_array()?, live.as_array()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn list_with_foreign_items_is_replaced_and_others_are_not() {
        let port = |number: u16| json!({ "name": "http", "port": number });
        let service = |ports: &[Value]| json!({ "spec": { "ports": ports } });
        let defaulted = json!({ "name": "http", "port": 80, "protocol": "TCP" });
        let field = || vec!["spec.ports[1].name".to_owned()];
        for (case, fields, found, expected) in [
            ("another port of that name", field(), vec![port(85)], vec![("/spec/ports".to_owned(), json!([port(80)]))]),
            ("only what the member added", field(), vec![defaulted], vec![]),
            ("a field outside lists", vec!["spec.type".to_owned()], vec![port(85)], vec![]),
            ("a list that is not there", vec!["spec.rules[0].host".to_owned()], vec![port(85)], vec![]),
        ] {
            assert_eq!(lists_to_replace(&fields, &service(&[port(80)]), &service(&found)), expected, "{case}");
        }
    }

    #[test]
    fn inner_list_is_found_by_the_name_of_its_enclosing_item() {
        let pod = |containers: Value| json!({ "spec": { "containers": containers } });
        let app = |ports: Value| json!({ "name": "app", "ports": ports });
        let rendered = pod(json!([app(json!([{ "containerPort": 1, "name": "a" }]))]));
        let there = pod(json!([{ "name": "proxy" }, app(json!([{ "containerPort": 2, "name": "a" }]))]));
        let lists = lists_to_replace(&["spec.containers[0].ports[1].name".to_owned()], &rendered, &there);
        assert_eq!(lists, [("/spec/containers/1/ports".to_owned(), json!([{ "containerPort": 1, "name": "a" }]))]);
    }
}
