//! Bodies of the requests. Pure.

use rest::NewRelease;

use super::edit::Edit;
use crate::code::Code;
use crate::failure::Failure;

/// Returns the edit that a request to release asks for.
pub(super) fn edit_of(new: NewRelease) -> Result<Edit, Failure> {
    let refuse = |pointer: &str, problem: &str| Err(Failure::of_field(Code::Invalid, pointer, problem));
    match (new.images, new.patch) {
        (Some(_), Some(_)) => refuse("/patch", "images and patch exclude each other; set the images in the patch"),
        (Some(images), None) if images.is_empty() => {
            refuse("/images", "names no image; leave it out to release the present revision again")
        }
        (Some(images), None) => Ok(Edit::Images(images)),
        (None, Some(patch)) => match patch.as_object() {
            None => refuse("/patch", "is no object; send a JSON merge patch of the spec"),
            Some(fields) if fields.is_empty() => {
                refuse("/patch", "is empty; leave it out to release the present revision again")
            }
            Some(_) => Ok(Edit::Patch(patch)),
        },
        (None, None) => Ok(Edit::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_request_has_images_or_a_patch_or_neither() {
        for (case, body, expected) in [
            ("neither", json!({}), Ok(Edit::Nothing)),
            ("a reason alone", json!({"reason": "again"}), Ok(Edit::Nothing)),
            ("images", json!({"images": {"web": "w:2"}}), Ok(Edit::Images([("web".into(), "w:2".into())].into()))),
            ("a patch", json!({"patch": {"replicas": 3}}), Ok(Edit::Patch(json!({"replicas": 3})))),
            ("both", json!({"images": {"web": "w:2"}, "patch": {"replicas": 3}}), Err("/patch")),
            ("no images", json!({"images": {}}), Err("/images")),
            ("an empty patch", json!({"patch": {}}), Err("/patch")),
            ("a patch that is a list", json!({"patch": [1]}), Err("/patch")),
        ] {
            let new: NewRelease = serde_json::from_value::<NewRelease>(body).unwrap();
            let found = edit_of(new).map_err(|failure| failure.errors[0].pointer.clone());
            assert_eq!(found, expected.map_err(str::to_owned), "{case}");
        }
        assert!(serde_json::from_value::<NewRelease>(json!({"image": Value::Null})).is_err());
    }
}
