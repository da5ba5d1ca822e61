//! Sets images of components. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::code::Code;
use crate::failure::Failure;

/// Maximum length of an image, in bytes; as of an override.
const IMAGE_MAX: usize = 1_024;
/// Places of a pod's spec in a template. `CronJob` first, because its template has both.
const POD_SPECS: [&str; 3] = ["/spec/jobTemplate/spec/template/spec", "/spec/template/spec", "/spec"];
/// Lists of containers in a pod's spec.
const LISTS: [&str; 2] = ["containers", "initContainers"];

/// Sets images in the components of a spec.
///
/// # Errors
/// The image in the request that cannot be set, with the names to choose from.
pub(super) fn set_images(components: &mut Value, images: &BTreeMap<String, String>) -> Result<(), Failure> {
    for (target, image) in images {
        let refuse = |problem: String| {
            let pointer = format!("/images/{}", target.replace('~', "~0").replace('/', "~1"));
            Failure::of_field(Code::Invalid, &pointer, problem)
        };
        check_image(image).map_err(refuse)?;
        let (component, container) = match target.split_once('/') {
            Some((component, container)) => (component, Some(container)),
            None => (target.as_str(), None),
        };
        let found = container_of(components, component, container).map_err(refuse)?;
        found["image"] = Value::String(image.clone());
    }
    Ok(())
}

fn check_image(image: &str) -> Result<(), String> {
    match image {
        "" => Err("is empty; name an image such as registry.example/web:1.2".to_owned()),
        long if long.len() > IMAGE_MAX => Err(format!("has {} bytes; {IMAGE_MAX} are possible", long.len())),
        odd if odd.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Err("contains blanks or control characters, as no image does".to_owned())
        }
        _ => Ok(()),
    }
}

fn container_of<'a>(
    components: &'a mut Value,
    component: &str,
    container: Option<&str>,
) -> Result<&'a mut Value, String> {
    let list = components.as_array_mut().map(Vec::as_mut_slice).unwrap_or_default();
    let all = names(list).join(", ");
    let found = list.iter_mut().find(|known| known["name"] == component);
    let template = found
        .and_then(|component| component.get_mut("template"))
        .ok_or_else(|| format!("there is no component {component}; there are {all}"))?;
    let kind = template["kind"].as_str().unwrap_or("object").to_owned();
    let no_pods = || format!("component {component} is a {kind} and has no containers; send a patch instead");
    let place = POD_SPECS
        .into_iter()
        .find(|place| template.pointer(place).is_some_and(|pod| pod["containers"].is_array()))
        .ok_or_else(no_pods)?;
    let pod = template.pointer_mut(place).ok_or_else(no_pods)?;
    let of = |list: &str| pod.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let wanted = match (container, names(of(LISTS[0])).as_slice()) {
        (Some(name), _) => name.to_owned(),
        (None, [only]) => (*only).to_owned(),
        (None, []) => return Err(no_pods()),
        (None, several) => {
            return Err(format!(
                "component {component} has several containers; write {component}/CONTAINER with one of {}",
                several.join(", ")
            ));
        }
    };
    let all = LISTS.into_iter().flat_map(|list| names(of(list))).collect::<Vec<_>>().join(", ");
    let lists = pod.as_object_mut().into_iter().flat_map(|pod| pod.iter_mut());
    lists
        .filter(|(key, _)| LISTS.contains(&key.as_str()))
        .filter_map(|(_, list)| list.as_array_mut())
        .flatten()
        .find(|container| container["name"] == wanted.as_str())
        .filter(|container| container.is_object())
        .ok_or_else(|| format!("component {component} has no container {wanted}; it has {all}"))
}

fn names(items: &[Value]) -> Vec<&str> {
    items.iter().filter_map(|item| item["name"].as_str()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn components() -> Value {
        let pod = json!({"initContainers": [{"name": "init", "image": "i:1"}], "containers": [{"name": "web", "image": "w:1"}]});
        let two = json!({"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]});
        json!([
            {"name": "web", "template": {"kind": "Deployment", "spec": {"template": {"spec": pod}}}},
            {"name": "two", "template": {"kind": "Deployment", "spec": {"template": {"spec": two}}}},
            {"name": "job", "template": {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": pod}}}}}},
            {"name": "config", "template": {"kind": "ConfigMap", "data": {}}},
        ])
    }

    fn set(target: &str, image: &str) -> Result<Value, Failure> {
        let mut components = components();
        let images = BTreeMap::from([(target.to_owned(), image.to_owned())]);
        set_images(&mut components, &images).map(|()| components)
    }

    #[test]
    fn images_are_set_where_the_request_names_one_container() {
        for (target, place) in [
            ("web", "/0/template/spec/template/spec/containers/0/image"),
            ("web/web", "/0/template/spec/template/spec/containers/0/image"),
            ("web/init", "/0/template/spec/template/spec/initContainers/0/image"),
            ("two/b", "/1/template/spec/template/spec/containers/1/image"),
            ("job", "/2/template/spec/jobTemplate/spec/template/spec/containers/0/image"),
        ] {
            let mut expected = components();
            *expected.pointer_mut(place).unwrap() = json!("new:2");
            assert_eq!(set(target, "new:2").unwrap(), expected, "{target}");
        }
    }

    #[test]
    fn wrong_images_are_refused_with_the_names_there_are() {
        let long = "i".repeat(1_025);
        for (case, target, image, words) in [
            ("unknown component", "db", "x:1", "there are web, two, job, config"),
            ("several containers", "two", "x:1", "two/CONTAINER with one of a, b"),
            ("unknown container", "two/c", "x:1", "it has a, b"),
            ("no pods", "config", "x:1", "is a ConfigMap"),
            ("empty", "web", "", "is empty"),
            ("long", "web", long.as_str(), "1025 bytes"),
            ("blank", "web", "x:1 y", "blanks"),
        ] {
            let failure = set(target, image).unwrap_err();
            assert!(failure.detail.contains(words), "{case}: {failure:?}");
            assert!(failure.errors[0].pointer.starts_with("/images/"), "{case}: {failure:?}");
        }
        assert_eq!(set("two/c", "x:1").unwrap_err().errors[0].pointer, "/images/two~1c");
    }
}
