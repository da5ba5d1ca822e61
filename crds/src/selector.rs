//! Label selection over cells and clusters.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Selects cells by their labels. A cell must meet every requirement; an empty selector selects all cells.
///
/// The labels are the derived ones (`fleet.meridian.io/{region,zone,cluster,cell,unit,unit-kind,pair}`) and those of
/// the Cell object. For the implicit cell of a cluster, the labels of the Cluster object apply.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CellSelector {
    /// Labels that must have exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements on labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<Requirement>,
}

/// A requirement on one label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requirement {
    /// Key of the label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// Comparison that the label must satisfy.
    pub operator: Operator,
    /// Values for `In` and `NotIn`. Empty for the other operators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// Comparison of a label with the values of a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// The label is present with one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl CellSelector {
    /// Returns whether a set of labels meets every requirement of the selector.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_treats_absent_labels_as_kubernetes_does() {
        let labels = BTreeMap::from([("zone".to_owned(), "n1".to_owned())]);
        for (key, operator, values, expected) in [
            ("zone", Operator::In, vec!["n1", "n2"], true),
            ("zone", Operator::In, vec!["n2"], false),
            ("cell", Operator::In, vec!["n1"], false),
            ("zone", Operator::NotIn, vec!["n1"], false),
            ("cell", Operator::NotIn, vec!["n1"], true),
            ("zone", Operator::Exists, vec![], true),
            ("cell", Operator::Exists, vec![], false),
            ("cell", Operator::DoesNotExist, vec![], true),
        ] {
            let selector = CellSelector {
                match_expressions: vec![Requirement {
                    key: key.to_owned(),
                    operator,
                    values: values.iter().map(ToString::to_string).collect(),
                }],
                ..CellSelector::default()
            };
            assert_eq!(selector.matches(&labels), expected, "{selector:?}");
        }
    }
}
