//! The help of every command, as snapshots in `tests/help`.
//!
//! With `OUTRIGGER_BLESS=1` in the environment, the tests write the snapshots.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Returns the help of a command; without a command, of the program.
fn help(command: Option<&str>) -> String {
    let mut outrigger = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    // The width of the terminal and the values of variables are parts of the text.
    for variable in ["COLUMNS", "POD_NAMESPACE", "RUST_LOG", "KUBECONFIG"] {
        outrigger.env_remove(variable);
    }
    let done = outrigger.args(command).arg("--help").output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{command:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// Returns the names of the commands that the program's help lists.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_help_of_every_command() {
    let program = help(None);
    let commands = commands(&program);
    assert!(commands.contains(&"serve".to_owned()) && commands.len() >= 8, "{commands:?}");
    let mut texts = BTreeMap::from([("outrigger.txt".to_owned(), program)]);
    texts.extend(commands.iter().map(|command| (format!("outrigger-{command}.txt"), help(Some(command)))));

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    if std::env::var_os("OUTRIGGER_BLESS").is_some() {
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).unwrap();
        for (file, text) in &texts {
            std::fs::write(folder.join(file), text).unwrap();
        }
    }
    for (file, text) in &texts {
        let snapshot = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        assert!(snapshot == *text, "tests/help/{file} is not up to date; the help is\n{text}");
    }
    let files = std::fs::read_dir(&folder).unwrap();
    let files: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let stale: Vec<&String> = files.iter().filter(|file| !texts.contains_key(*file)).collect();
    assert!(stale.is_empty(), "these snapshots belong to no command: {stale:?}");
}
