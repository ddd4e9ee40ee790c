//! `docs/CLI.md` names everything that the command line has.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use adsengineer_server::config::KEYS;

fn document() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CLI.md")).unwrap()
}

fn help(command: &[String]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_adsengineer")).args(command).arg("--help").output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn subcommands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    listed.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Every command that does something, with its help.
fn commands(above: &[String]) -> Vec<(Vec<String>, String)> {
    let text = help(above);
    let below = subcommands(&text);
    if below.is_empty() {
        return vec![(above.to_vec(), text)];
    }
    below.into_iter().flat_map(|name| commands(&[above, &[name]].concat())).collect()
}

#[test]
fn every_setting_is_documented_with_its_variable_and_default() {
    let document = document();
    for key in KEYS {
        let start = format!("| `{}` | `{}` |", key.name, key.variable());
        let row = document.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("docs/CLI.md has no row that starts with {start}"));
        assert!(key.default.is_none_or(|default| row.contains(&format!("| `{default}` |"))), "{row}");
        assert!(row.contains(key.help), "{row}");
    }
}

#[test]
fn every_command_is_documented_with_its_flags() {
    let document = document();
    let commands = commands(&[]);
    assert!(commands.len() > 20, "the help was not understood");
    for (path, text) in commands {
        let heading = format!("### `{}", path.join(" "));
        assert!(document.lines().any(|line| line.starts_with(&heading)), "docs/CLI.md has no heading {heading}");
        for flag in text.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2) {
            let name = flag.trim_end_matches(|c: char| !c.is_ascii_lowercase()).split(['[', '=']).next().unwrap();
            let generated = ["--help", "--version"].contains(&name);
            assert!(generated || document.contains(name), "docs/CLI.md does not name {name} of {}", path.join(" "));
        }
    }
}
