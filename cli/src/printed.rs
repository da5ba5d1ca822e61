//! Tests that the commands which Meridian's messages print can be run as printed.

use std::path::{Path, PathBuf};

use clap::Parser;

use crate::args::{AppCommand, Cli, Command, ExplainCommand, IntakeCommand, ReleaseCommand};

/// Folders with sources whose messages people read, relative to this crate's folder.
const FOLDERS: [&str; 5] = ["../cli/src", "../operator/src", "../web-api/src", "../crates", "../crds/src"];

/// Id that is filled in for an operation.
const OPERATION: &str = "0198c0de-0000-7000-8000-000000000001";

/// Returns the Rust sources under a folder, except folders named `tests` and this file.
fn sources(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("tests") {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("printed.rs") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Returns the commands between backticks in the strings of a source.
fn printed(source: &str) -> Vec<String> {
    let program = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code = program.lines().filter(|line| !line.trim_start().starts_with("//")).map(str::trim);
    // A backslash at the end of a line continues the string in the next line.
    let text = code.fold(String::new(), |text, line| match line.strip_suffix('\\') {
        Some(begun) => text + begun,
        None => text + line + "\n",
    });
    let mut commands = Vec::new();
    let mut rest = text.as_str();
    while let Some((_, after)) = rest.split_once("`meridian ") {
        let (command, after) = after.split_once('`').expect("a backtick that closes");
        commands.push(format!("meridian {command}"));
        rest = after;
    }
    commands
}

/// Replaces each placeholder of a command by a value, whether the program or the user fills it in.
fn filled_in(command: &str) -> String {
    let command = command.replace("{member}", "--kubeconfig FILE");
    let mut text = String::new();
    let mut parts = command.split('{');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        text.push('x');
        text.push_str(part.split_once('}').expect("a brace that closes").1);
    }
    let is_for_people = |word: &&str| word.bytes().all(|byte| byte.is_ascii_uppercase());
    let filled =
        text.split(' ').map(|word| if is_for_people(&word) { "x" } else { word }).collect::<Vec<_>>().join(" ");
    // Every placeholder of a command about an operation is its id, except after a flag.
    if filled.starts_with("meridian op ") { filled.replacen(" x", &format!(" {OPERATION}"), 1) } else { filled }
}

/// Whether a command is about one Application and has no namespace.
///
/// Such a command would use the namespace of the reader's kubeconfig context.
fn lacks_namespace(command: Command) -> bool {
    let namespace = match command {
        Command::App(
            AppCommand::Describe { app, .. } | AppCommand::Status { app, .. } | AppCommand::History { app, .. },
        )
        | Command::Explain(ExplainCommand::Placement { app, .. }) => app.namespace,
        Command::App(AppCommand::Delete(args)) => args.app.namespace,
        Command::App(AppCommand::ConfirmDelete(args)) => args.app.namespace,
        Command::App(AppCommand::Import(args)) => args.namespace,
        Command::App(AppCommand::Diff(args)) => args.app.namespace,
        Command::App(AppCommand::Rollback(args)) => args.app.namespace,
        Command::Release(args) => release_namespace(args.command),
        Command::Rebalance(args) => args.app.namespace,
        Command::Intake(IntakeCommand::Accept(args)) if args.app.is_some() => args.namespace,
        Command::WhatIf(args) if args.app.is_some() => args.namespace,
        Command::App(AppCommand::List { .. })
        | Command::Intake(_)
        | Command::WhatIf(_)
        | Command::Cluster(_)
        | Command::Op(_)
        | Command::Lock(_)
        | Command::Drain(_)
        | Command::Login(_)
        | Command::Logout
        | Command::Whoami(_)
        | Command::Completion { .. }
        | Command::Version { .. } => return false,
    };
    namespace.is_none()
}

fn release_namespace(command: ReleaseCommand) -> Option<String> {
    match command {
        ReleaseCommand::Start(args) => args.app.namespace,
        ReleaseCommand::Status(args) => args.app.namespace,
        ReleaseCommand::Pause(args)
        | ReleaseCommand::Resume(args)
        | ReleaseCommand::Confirm(args)
        | ReleaseCommand::Skip(args)
        | ReleaseCommand::Abort(args)
        | ReleaseCommand::Undo(args)
        | ReleaseCommand::Retry(args) => args.app.namespace,
    }
}

/// Returns why a command does not run as it is printed.
fn fault(command: &str) -> Option<String> {
    match Cli::try_parse_from(filled_in(command).split(' ')) {
        Err(error) => Some(error.to_string()),
        Ok(cli) => lacks_namespace(cli.command).then(|| "the namespace is missing".to_owned()),
    }
}

#[test]
fn every_printed_command_runs_as_it_is_printed() {
    let mut faults = Vec::new();
    for folder in FOLDERS {
        let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
        let mut seen = 0;
        for file in files {
            for command in printed(&std::fs::read_to_string(&file).unwrap()) {
                seen += 1;
                faults.extend(fault(&command).map(|why| format!("{}: {command}: {why}", file.display())));
            }
        }
        // The schemas of the kinds print no commands today.
        assert!(
            seen > 0 || folder.ends_with("crds/src"),
            "{folder}: no command was found; does the search still work?"
        );
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn documented_commands_run_as_they_are_printed() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let commands: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    let ours: Vec<&str> = commands.into_iter().filter(|command| command.starts_with("meridian ")).collect();
    assert!(!ours.is_empty(), "the README shows no command of ours");
    let faults: Vec<String> =
        ours.iter().filter_map(|command| fault(command).map(|why| format!("{command}: {why}"))).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_command_that_lacks_something_is_found() {
    let source = "//! Comments may say `meridian rebalance`.\nlet text = format!(\"see \\\n    `meridian rebalance {} \\\n  --dry-run`\");\n";
    assert_eq!(printed(source), ["meridian rebalance {} --dry-run"]);
    for (command, runs) in [
        ("meridian rebalance {} --dry-run", false),
        ("meridian rebalance {} -n {} --dry-run", true),
        ("meridian cluster permissions {name}", false),
        ("meridian cluster permissions {name} --kubeconfig FILE", true),
        ("meridian cluster replace {name} {member}", true),
        ("meridian app list -A", true),
    ] {
        assert_eq!(fault(command).is_none(), runs, "{command}");
    }
}
