//! Formats standard output: tables for people, JSON and YAML for programs.

use clap::ValueEnum;
use comfy_table::{CellAlignment, ContentArrangement, Table as Grid, presets};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Resource;
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::mask::mask_secrets;

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// A table of at most about 80 columns.
    #[default]
    Table,
    /// A table with further columns.
    Wide,
    /// A JSON document.
    Json,
    /// A YAML document.
    Yaml,
    /// `kind.group/name`, one a line.
    Name,
}

/// A table without borders. Each column is as wide as its longest entry.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: impl IntoIterator<Item = &'static str>) -> Self {
        Self { header: header.into_iter().collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Renders one line per row without trailing blanks. Columns of numbers are aligned right.
    pub(crate) fn render(&self) -> String {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(self.header.clone());
        for row in &self.rows {
            // A message of a member may have several lines, but a row has only one.
            grid.add_row(row.iter().map(|cell| cell.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        let numeric: Vec<bool> = (0..self.header.len()).map(|column| self.is_numeric(column)).collect();
        for (column, numeric) in grid.column_iter_mut().zip(numeric) {
            column.set_padding((0, 3));
            if numeric {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = String::new();
        for line in grid.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn is_numeric(&self, column: usize) -> bool {
        let mut seen = false;
        for cell in self.rows.iter().filter_map(|row| row.get(column)) {
            if cell.is_empty() || cell == "-" {
                continue;
            }
            if !cell.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'%')) {
                return false;
            }
            seen = true;
        }
        seen
    }
}

/// Formats lines of `name: value`, with the values in one column.
pub(crate) fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
    fields
        .iter()
        .map(|(name, value)| format!("{:width$}  {value}", format!("{name}:")).trim_end().to_owned() + "\n")
        .collect()
}

/// Indents text by two blanks.
pub(crate) fn indent(text: &str) -> String {
    text.lines().fold(String::new(), |all, line| if line.is_empty() { all + "\n" } else { all + "  " + line + "\n" })
}

/// Serializes a value as JSON or YAML, with the contents of Secrets masked.
///
/// Returns `None` for the formats that need a table.
pub(crate) fn structured<T: Serialize>(format: Format, value: &T) -> Result<Option<String>, Failure> {
    let masked = || {
        let mut value = serde_json::to_value(value).map_err(|error| Failure::Failed(error.to_string()))?;
        mask_secrets(&mut value);
        Ok(value)
    };
    match format {
        Format::Json => Ok(Some(json(&masked()?)?)),
        Format::Yaml => Ok(Some(yaml(&masked()?)?)),
        Format::Table | Format::Wide | Format::Name => Ok(None),
    }
}

/// Wraps objects in a `List`, as `kubectl` prints several objects.
pub(crate) fn list_of<T: Serialize>(items: &[T]) -> Result<Value, Failure> {
    let items = items.iter().map(object).collect::<Result<Vec<_>, _>>()?;
    Ok(serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items }))
}

/// Returns kind and name as `kubectl` prints and accepts them: `cluster.fleet.meridian.io/north`.
pub(crate) fn title<K: Resource<DynamicType = ()>>(name: &str) -> String {
    format!("{}.{}/{name}", K::kind(&()).to_lowercase(), K::group(&()))
}

/// Serializes an object without the `managedFields` of its metadata.
pub(crate) fn object<T: Serialize>(object: &T) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(object).map_err(|error| Failure::Failed(error.to_string()))?;
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("managedFields");
    }
    Ok(value)
}

/// Serializes a value as indented JSON that ends with a line break.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| Failure::Failed(error.to_string()))
}

/// Serializes a value as YAML that ends with a line break.
pub(crate) fn yaml<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_saphyr::to_string(value)
        .map(|text| text.trim_end().to_owned() + "\n")
        .map_err(|error| Failure::Failed(error.to_string()))
}

/// Formats the age of a time in the largest two units that `kubectl` would use; `-` if unknown.
pub(crate) fn age(since: Option<&Time>, now: Timestamp) -> String {
    since.map_or_else(|| "-".to_owned(), |since| span(now.duration_since(since.0).as_secs()))
}

/// Formats seconds as a short span: `42s`, `5m`, `3h12m`, `2d`.
pub(crate) fn span(seconds: i64) -> String {
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => {
            let minutes = seconds % 3_600 / 60;
            if minutes == 0 { format!("{}h", seconds / 3_600) } else { format!("{}h{minutes}m", seconds / 3_600) }
        }
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Returns the text, or `-` if it is missing or empty.
pub(crate) fn or_dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned()
}

/// Finds the condition of a type.
pub(crate) fn condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Formats conditions as a table.
pub(crate) fn conditions(all: &[Condition], now: Timestamp) -> Table {
    let mut table = Table::new(["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    for condition in all {
        table.row([
            condition.type_.clone(),
            condition.status.clone(),
            condition.reason.clone(),
            age(Some(&condition.last_transition_time), now),
            condition.message.clone(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn tables_have_no_borders_and_numbers_stand_right() {
        let mut table = Table::new(["NAME", "READY", "APPS", "MESSAGE"]);
        table.row(["north-1", "True", "12", ""].map(String::from));
        table.row(["n", "Unknown", "3", "no answer\nfor 20s"].map(String::from));
        expect![[r"
            NAME      READY     APPS   MESSAGE
            north-1   True        12
            n         Unknown      3   no answer for 20s
        "]]
        .assert_eq(&table.render());
    }

    #[test]
    fn names_carry_their_group_as_kubectl_prints_it() {
        assert_eq!(title::<crds::Application>("web"), "application.fleet.meridian.io/web");
        assert_eq!(title::<crds::Cluster>("north"), "cluster.fleet.meridian.io/north");
    }

    #[test]
    fn spans_read_like_kubectl() {
        for (seconds, text) in [
            (-3, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_199, "119m"),
            (7_200, "2h"),
            (7_260, "2h1m"),
            (172_800, "2d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn fields_line_up() {
        let text = fields(&[("Name", "north".into()), ("Kubernetes", String::new()), ("Region", "n".into())]);
        expect![[r"
            Name:        north
            Kubernetes:
            Region:      n
        "]]
        .assert_eq(&text);
    }
}
