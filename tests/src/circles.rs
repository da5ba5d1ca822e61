//! Rule for the imports between the files of one crate: they form no circle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use anyhow::Context;

use crate::wording::sources;

/// Folders of the crates that the rule covers, relative to the repository.
const CRATES: [&str; 15] = [
    "crates/access",
    "crates/delivery",
    "crates/domain",
    "crates/flow",
    "crates/members",
    "crates/operations",
    "crates/rest",
    "crates/runtime",
    "crates/schedule",
    "crates/store",
    "crates/vocabulary",
    "crds",
    "cli",
    "operator",
    "web-api",
];

/// Path of a module below the root of its crate. The root has the empty path.
type Module = Vec<String>;

/// Returns every circle of imports, as a sentence.
///
/// A module and its submodules belong together, so imports between them are allowed. Names at the root of a crate are
/// its interface, and importing them is allowed too. A name that another module re-exports counts for the module that
/// declares it. Code for tests is left out.
///
/// # Errors
/// If a source cannot be read.
pub fn circles() -> anyhow::Result<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a parent folder")?;
    let mut found = Vec::new();
    for name in CRATES {
        let folder = root.join(name).join("src");
        let mut files = BTreeMap::new();
        for path in sources(&folder)? {
            let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            files.insert(module_of(path.strip_prefix(&folder)?), text);
        }
        let sentence = |circle: Vec<Module>| {
            let names: Vec<String> = circle.iter().map(|module| module.join("::")).collect();
            format!("{name}: {} import each other; move what both need to a file of its own", names.join(" → "))
        };
        found.extend(circles_between(files).into_iter().map(sentence));
    }
    Ok(found)
}

fn module_of(file: &Path) -> Module {
    let mut module: Module =
        file.with_extension("").iter().map(|segment| segment.to_string_lossy().into_owned()).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// Returns the circles between files, each as the list of its modules. The first module is repeated at the end.
fn circles_between(mut files: BTreeMap<Module, String>) -> Vec<Vec<Module>> {
    remove_tests(&mut files);
    let exports: BTreeMap<&Module, Vec<Module>> =
        files.iter().map(|(module, text)| (module, paths(&files, module, text, true))).collect();
    let imports: BTreeMap<&Module, BTreeSet<Module>> = files
        .iter()
        .map(|(module, text)| {
            let used = paths(&files, module, text, false).into_iter().map(|path| declared_in(&files, &exports, path));
            (module, used.filter(|used| !used.starts_with(module) && !module.starts_with(used)).collect())
        })
        .collect();
    let mut reported = BTreeSet::new();
    let circles = imports.keys().filter_map(|module| circle_of(&imports, module));
    circles.filter(|circle| reported.insert(circle.iter().cloned().collect::<BTreeSet<_>>())).collect()
}

/// Removes the modules that are compiled for tests alone.
fn remove_tests(files: &mut BTreeMap<Module, String>) {
    let mut tests: Vec<Module> = Vec::new();
    for (module, text) in files.iter_mut() {
        let lines: Vec<&str> = text.lines().collect();
        let mut end = lines.len();
        for (number, _) in lines.iter().enumerate().filter(|(_, line)| line.trim() == "#[cfg(test)]") {
            let item = lines[number..].iter().map(|line| line.trim()).find(|line| !line.starts_with("#["));
            let Some((_, name)) = item.and_then(|item| item.split_once("mod ")) else { continue };
            match name.strip_suffix(';') {
                Some(name) => tests.push([module.as_slice(), &[name.to_owned()]].concat()),
                None => end = end.min(number),
            }
        }
        *text = lines[..end].join("\n");
    }
    files.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
}

/// Returns the paths into the crate that a file names, from the root of the crate.
///
/// With `exported`, returns only those that the file re-exports.
fn paths(files: &BTreeMap<Module, String>, module: &Module, text: &str, exported: bool) -> Vec<Module> {
    let without_comments = |line: &str| {
        let code = if line.trim_start().starts_with("//") { "" } else { line };
        code.split(" //").next().unwrap_or_default().to_owned()
    };
    let code = text.lines().map(without_comments).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    let starts = if exported { vec!["use "] } else { vec!["crate::", "super::"] };
    for (at, start) in starts.into_iter().flat_map(|start| code.match_indices(start)) {
        let before = code[..at].rsplit(['\n', ';']).next().unwrap_or_default().trim();
        let is_path = if exported {
            before.starts_with("pub") && !before.contains(' ')
        } else {
            !code[..at].ends_with(|letter: char| letter.is_alphanumeric() || "_:$".contains(letter))
        };
        if is_path {
            let tree = if exported { &code[at + start.len()..] } else { &code[at..] };
            found.extend(branches(&mut tree.chars().peekable()).into_iter().filter_map(|path| {
                let is_child =
                    |name: &String| files.contains_key(&[module.as_slice(), std::slice::from_ref(name)].concat());
                from_root(module, &path, is_child)
            }));
        }
    }
    found
}

type Letters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Reads a path or a tree of paths such as `a::{b, c::d}`, and returns each path as its segments.
fn branches(letters: &mut Letters<'_>) -> Vec<Module> {
    let skip_space = |letters: &mut Letters<'_>| while letters.next_if(|letter| letter.is_whitespace()).is_some() {};
    let is_name = |letter: &char| letter.is_alphanumeric() || *letter == '_' || *letter == '*';
    skip_space(letters);
    if letters.next_if_eq(&'{').is_some() {
        let mut found = Vec::new();
        loop {
            skip_space(letters);
            match letters.peek() {
                Some('}') | None => break,
                Some(letter) if is_name(letter) || *letter == '{' => found.extend(branches(letters)),
                Some(_) => drop(letters.next()),
            }
        }
        letters.next();
        return found;
    }
    let mut name = String::new();
    while let Some(letter) = letters.next_if(is_name) {
        name.push(letter);
    }
    if letters.next_if_eq(&':').is_none() || letters.next_if_eq(&':').is_none() {
        return vec![vec![name]];
    }
    branches(letters).into_iter().map(|rest| [vec![name.clone()], rest].concat()).collect()
}

/// Resolves `crate`, `self` and `super`. Returns `None` for a path into another crate.
fn from_root(module: &Module, path: &Module, is_child: impl Fn(&String) -> bool) -> Option<Module> {
    let ups = path.iter().take_while(|segment| *segment == "super").count();
    match path.first().map(String::as_str)? {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module.as_slice(), &path[1..]].concat()),
        "super" => Some([&module[..module.len().saturating_sub(ups)], &path[ups..]].concat()),
        _ if is_child(&path[0]) => Some([module.as_slice(), path].concat()),
        _ => None,
    }
}

/// Returns the module that declares the item of a path. Follows re-exports, except those of the root.
fn declared_in(files: &BTreeMap<Module, String>, exports: &BTreeMap<&Module, Vec<Module>>, path: Module) -> Module {
    let depth = (0..=path.len()).rev().find(|depth| files.contains_key(&path[..*depth])).unwrap_or_default();
    let (module, item) = path.split_at(depth);
    let exported = exports.get(&module.to_vec()).filter(|_| depth > 0).into_iter().flatten();
    match exported.into_iter().find(|exported| exported.last() == item.first() && **exported != path) {
        Some(exported) => declared_in(files, exports, exported.clone()),
        None => module.to_vec(),
    }
}

/// Returns the shortest circle through a module.
fn circle_of(imports: &BTreeMap<&Module, BTreeSet<Module>>, start: &Module) -> Option<Vec<Module>> {
    let mut ways = VecDeque::from([vec![start.clone()]]);
    let mut visited = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in imports.get(way.last()?).into_iter().flatten() {
            let longer = [way.as_slice(), std::slice::from_ref(next)].concat();
            if next == start {
                return Some(longer);
            }
            if visited.insert(next.clone()) {
                ways.push_back(longer);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_circles_are_found_and_nothing_else() {
        for (case, files, expected) in [
            ("one direction", vec![("a.rs", "use crate::b::B;"), ("b.rs", "")], None),
            ("two files", vec![("a.rs", "use crate::b::B;"), ("b.rs", "use super::a::A;")], Some("a b a")),
            (
                "three files, one without `use`",
                vec![
                    ("a.rs", "use crate::{b::{B, C}, d};"),
                    ("b.rs", "fn b(c: crate::c::C) {}"),
                    ("c.rs", "use crate::a;"),
                ],
                Some("a b c a"),
            ),
            (
                "a re-export",
                vec![
                    ("a/mod.rs", "mod x;\npub(crate) use x::X;"),
                    ("a/x.rs", "use crate::b::B;"),
                    ("b.rs", "use crate::a::{X as Y, Z};"),
                ],
                Some("a::x b a::x"),
            ),
            ("a submodule", vec![("a.rs", "use crate::a::x::X;"), ("a/x.rs", "use super::A;")], None),
            (
                "names of the root",
                vec![("lib.rs", "pub use a::A;"), ("a.rs", "use crate::b::B;"), ("b.rs", "use crate::A;")],
                None,
            ),
            (
                "a comment",
                vec![("a.rs", "use crate::b::B; // use crate::a"), ("b.rs", "    // use crate::a::A;")],
                None,
            ),
            (
                "code for tests",
                vec![
                    ("a.rs", "use crate::b::B;"),
                    ("b.rs", "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}"),
                    ("lib.rs", "#[cfg(test)]\n#[path = \"c.rs\"]\nmod c;"),
                    ("c.rs", "use crate::d::D;"),
                    ("d.rs", "use crate::c::C;"),
                ],
                None,
            ),
        ] {
            let files = files.into_iter().map(|(name, text)| (module_of(Path::new(name)), text.to_owned())).collect();
            let found: Vec<String> = circles_between(files)
                .into_iter()
                .map(|circle| circle.iter().map(|module| module.join("::")).collect::<Vec<_>>().join(" "))
                .collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{case}");
        }
    }
}
