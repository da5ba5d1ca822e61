//! Reads objects of Meridian's kinds from files.

use std::io::Read;
use std::path::{Path, PathBuf};

use crds::{Application, Cell, Cluster, PlacementPolicy};
use serde_json::Value;

use crate::failure::Failure;

/// Objects of Meridian's kinds that were found in files.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) apps: Vec<Application>,
    pub(crate) policies: Vec<PlacementPolicy>,
}

impl Documents {
    /// Reads files, folders of files, and `-` for standard input.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut documents = Self::default();
        for path in paths {
            if path == Path::new("-") {
                let mut text = String::new();
                std::io::stdin()
                    .read_to_string(&mut text)
                    .map_err(|error| Failure::Usage(format!("standard input: {error}")))?;
                documents.take(&text, "standard input")?;
            } else {
                documents.read_path(path)?;
            }
        }
        Ok(documents)
    }

    fn read_path(&mut self, path: &Path) -> Result<(), Failure> {
        let unreadable = |error: std::io::Error| Failure::Usage(format!("{}: {error}", path.display()));
        if path.is_dir() {
            let mut entries: Vec<PathBuf> =
                std::fs::read_dir(path).map_err(unreadable)?.flatten().map(|entry| entry.path()).collect();
            entries.sort();
            let known = |path: &PathBuf| {
                path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known))
            };
            return entries.iter().filter(|path| known(path)).try_for_each(|path| self.read_path(path));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        self.take(&text, &path.display().to_string())
    }

    fn take(&mut self, text: &str, source: &str) -> Result<(), Failure> {
        let values: Vec<Value> =
            serde_saphyr::from_multiple(text).map_err(|error| Failure::Usage(format!("{source}: {error}")))?;
        values.into_iter().try_for_each(|value| self.take_value(value, source))
    }

    fn take_value(&mut self, value: Value, source: &str) -> Result<(), Failure> {
        let kind = value["kind"].as_str().unwrap_or_default().to_owned();
        let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let wrong = |error: serde_json::Error| Failure::Usage(format!("{source}: {kind} {name}: {error}"));
        match kind.as_str() {
            "List" => {
                for item in value["items"].as_array().into_iter().flatten() {
                    self.take_value(item.clone(), source)?;
                }
            }
            "Cluster" => self.clusters.push(serde_json::from_value(value).map_err(wrong)?),
            "Cell" => self.cells.push(serde_json::from_value(value).map_err(wrong)?),
            "Application" => self.apps.push(serde_json::from_value(value).map_err(wrong)?),
            "PlacementPolicy" => self.policies.push(serde_json::from_value(value).map_err(wrong)?),
            // The same files may contain other kinds, such as Namespaces. They are ignored.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_sorted_and_mistakes_name_the_file() {
        let app =
            "apiVersion: fleet.meridian.io/v1alpha1\nkind: Application\nmetadata: {name: a}\nspec: {components: []}\n";
        let mut documents = Documents::default();
        documents.take(&format!("{app}---\nkind: Namespace\nmetadata: {{name: x}}\n"), "f.yaml").unwrap();
        assert_eq!(documents.apps.len(), 1);
        let error = documents.take("kind: Cell\nmetadata: {name: c}\nspec: {klaster: x}\n", "f.yaml").unwrap_err();
        assert!(error.to_string().starts_with("f.yaml: Cell c: "), "{error}");
    }
}
