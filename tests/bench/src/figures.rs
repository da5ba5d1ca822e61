//! Measured values by name: one value for each run.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Values of one run, by name.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    values: BTreeMap<String, f64>,
}

impl Figures {
    /// Adds a value; the catalogue or the end of the name gives the unit.
    pub fn add(&mut self, name: &str, value: f64) {
        println!("  {name:58} {value:.3}");
        self.values.insert(name.to_owned(), value);
    }

    /// Returns a value of this run.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }
}

/// Values of all runs, by name.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    values: BTreeMap<String, Vec<f64>>,
}

impl Runs {
    /// Appends the values of a run.
    pub fn take(&mut self, figures: Figures) {
        for (name, value) in figures.values {
            self.values.entry(name).or_default().push(value);
        }
    }

    /// Reads the output of [`Runs::json`].
    pub fn parse(value: &Value) -> Self {
        let list = |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        let values = value["figures"].as_object().into_iter().flatten();
        Self { values: values.map(|(name, value)| (name.clone(), list(value))).collect() }
    }

    /// Appends values of earlier runs.
    pub fn join(&mut self, other: Self) {
        for (name, values) in other.values {
            self.values.entry(name).or_default().extend(values);
        }
    }

    /// Returns all values and the surroundings as JSON.
    pub fn json(&self, surroundings: &BTreeMap<String, String>) -> Value {
        json!({ "surroundings": surroundings, "figures": self.values })
    }

    /// Returns the values of one name in ascending order.
    pub fn sorted(&self, name: &str) -> Vec<f64> {
        let mut values = self.values.get(name).cloned().unwrap_or_default();
        values.sort_by(f64::total_cmp);
        values
    }

    /// Returns the names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }
}
