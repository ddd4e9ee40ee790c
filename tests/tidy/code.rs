//! What Rust files may hold: length, names, printing, panics, sleeps.

use crate::{Findings, source::Source};

/// What a finding begins with that does not fail the test.
pub(crate) const WARNING: &str = "warning: ";

const LONGEST: usize = 600;
const LONG: usize = 450;
const LONGEST_CODE: usize = 400;

const VAGUE: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "service", "services", "misc", "stuff"];

const OUTPUT: &str = "adsengineer-cli/src/output.rs";

/// Files that have grown too long, and those about to.
pub(crate) fn lengths(source: &Source) -> Findings {
    let (all, code) = (source.lines.len(), source.production().count());
    let path = &source.path;
    if all > LONGEST {
        vec![format!("{path} has {all} lines; split it, {LONGEST} is the most")]
    } else if code > LONGEST_CODE {
        vec![format!("{path} has {code} lines before its tests; split it, {LONGEST_CODE} is the most")]
    } else if all > LONG {
        vec![format!("{WARNING}{path} has {all} lines; think of splitting it before {LONGEST}")]
    } else {
        Findings::new()
    }
}

/// `mod.rs`, and names that say nothing.
pub(crate) fn names(source: &Source) -> Findings {
    let path = &source.path;
    let mut findings = Findings::new();
    if source.stem() == "mod" {
        findings.push(format!("{path}: name it foo.rs beside foo/"));
    }
    for part in path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part)).filter(|part| VAGUE.contains(part)) {
        findings.push(format!("{path}: `{part}` says nothing about what is in it"));
    }
    for (number, line) in source.production().chain(source.tests()) {
        let inline = line.trim().strip_suffix('{').and_then(|line| line.rsplit_once("mod ")).map(|(_, name)| name.trim());
        if inline.is_some_and(|name| VAGUE.contains(&name)) {
            findings.push(format!("{path}:{number}: this module's name says nothing about what is in it"));
        }
    }
    findings
}

/// Printing anywhere but in the CLI's output module.
pub(crate) fn prints(source: &Source) -> Findings {
    if source.path == OUTPUT || source.stem() == "build" {
        return Findings::new();
    }
    offences(source.production().chain(source.tests()), source, &["println!", "eprintln!", "print!", "eprint!", "dbg!"], |word| {
        format!("`{word}`; only {OUTPUT} prints")
    })
}

/// Panics on the unexpected outside tests.
pub(crate) fn unwraps(source: &Source) -> Findings {
    offences(source.production(), source, &[".unwrap()", ".expect(", ".unwrap_err()", ".expect_err("], |word| {
        format!("`{word}` outside tests; return an error")
    })
}

/// Tests switched off and code put off.
pub(crate) fn unfinished(source: &Source) -> Findings {
    let lines = source.production().chain(source.tests());
    offences(lines, source, &["#[ignore", "todo!", "unimplemented!"], |word| format!("`{word}`; finish it or take it out"))
}

/// Sleeping in tests.
pub(crate) fn sleeps(source: &Source) -> Findings {
    let words = ["sleep(", "sleep_until(", "sleep_ms("];
    offences(source.tests(), source, &words, |word| format!("`{word}…)` in a test; wait for what happens, or pause the clock"))
}

fn offences<'a>(lines: impl Iterator<Item = (usize, &'a str)>, source: &Source, words: &[&str], say: impl Fn(&str) -> String) -> Findings {
    let mut findings = Findings::new();
    for (number, line) in lines {
        let found = words.iter().find(|word| {
            let whole =
                |at: usize| !word.starts_with(char::is_alphabetic) || !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            line.match_indices(**word).any(|(at, _)| whole(at))
        });
        findings.extend(found.map(|word| format!("{}:{number}: {}", source.path, say(word))));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{WARNING, lengths, names, prints, sleeps, unfinished, unwraps};
    use crate::source::Source;

    fn source(text: &str) -> Source {
        Source::new("adsengineer-core/src/x.rs", text)
    }

    fn in_tests(line: &str) -> Source {
        source(&format!("#[cfg(test)]\nmod tests {{\n    {line}\n}}"))
    }

    #[test]
    fn long_files_fail_and_longish_ones_warn() {
        let tests = |lines: usize| source(&format!("#[cfg(test)]\nmod tests {{\n{}}}", "    a;\n".repeat(lines)));
        assert!(lengths(&source(&"a;\n".repeat(400))).is_empty());
        assert!(lengths(&source(&"a;\n".repeat(401)))[0].contains("401 lines before its tests"));
        assert!(lengths(&tests(500))[0].starts_with(WARNING));
        assert!(lengths(&tests(600))[0].contains("split it, 600"));
    }

    #[test]
    fn vague_names_and_mod_files_are_found() {
        for path in ["a/src/util.rs", "a/src/store/mod.rs", "a/src/helpers/x.rs"] {
            assert_eq!(names(&Source::new(path, "")).len(), 1, "{path}");
        }
        assert_eq!(names(&source("pub mod helpers {\n}")).len(), 1);
        assert!(names(&source("mod money {\n}\nmod tests;")).is_empty());
    }

    #[test]
    fn printing_is_found_outside_the_output_module() {
        assert_eq!(prints(&source("println!(\"x\");")).len(), 1);
        assert_eq!(prints(&in_tests("eprint!(\"x\");")).len(), 1);
        assert!(prints(&Source::new("adsengineer-cli/src/output.rs", "println!(\"x\");")).is_empty());
        assert!(prints(&source("// println!\nlet a = \"println!\"; blueprint!()")).is_empty());
    }

    #[test]
    fn unwrapping_is_found_outside_tests_only() {
        assert_eq!(unwraps(&source("a.unwrap();\nb.expect(\"c\");")).len(), 2);
        assert!(unwraps(&in_tests("a.unwrap();")).is_empty());
        assert!(unwraps(&source("a.unwrap_or(b); #[expect(lint)]")).is_empty());
    }

    #[test]
    fn ignored_tests_and_gaps_are_found() {
        assert_eq!(unfinished(&in_tests("#[ignore]")).len(), 1);
        assert_eq!(unfinished(&in_tests("#[ignore = \"slow\"]")).len(), 1);
        assert_eq!(unfinished(&source("todo!()")).len(), 1);
    }

    #[test]
    fn sleeping_is_found_in_tests_only() {
        assert_eq!(sleeps(&in_tests("tokio::time::sleep(a).await;")).len(), 1);
        assert_eq!(sleeps(&Source::new("tests/x.rs", "std::thread::sleep(a);")).len(), 1);
        assert!(sleeps(&source("tokio::time::sleep(a).await;")).is_empty());
        assert!(sleeps(&in_tests("it_does_not_sleep();")).is_empty());
    }
}
