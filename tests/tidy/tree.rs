//! The repository on disk: its files, its top level, its lock file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Findings,
    source::{Source, extension},
    text::Text,
};

/// The README's second command, which is also what CI runs.
pub(crate) const TEST_COMMAND: &str = "cargo test --workspace --all-features --locked";

/// Raised only on purpose.
const MOST_CRATES: usize = 540;

const REQUIRED: &[&str] = &[
    ".ci",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "adsengineer-cli",
    "adsengineer-core",
    "adsengineer-server",
    "docs",
    "tests",
];

const ALLOWED: &[&str] = &[
    ".cargo",
    ".clippy.toml",
    ".config",
    ".dockerignore",
    ".editorconfig",
    ".gitattributes",
    ".github",
    ".gitignore",
    ".rustfmt.toml",
    "deploy",
];

/// What tools put at the top and git does not keep.
const NOT_OURS: &[&str] = &[".git", ".idea", ".vscode", ".DS_Store", "target"];

const TEXT: &[&str] = &["css", "html", "js", "json", "md", "py", "rs", "sh", "sql", "toml", "yaml", "yml"];

/// The checkout that this test was built from.
pub(crate) struct Repository {
    root: PathBuf,
    files: Vec<String>,
}

impl Repository {
    pub(crate) fn here() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
        let mut files = Vec::new();
        collect(&root, "", &mut files);
        files.sort();
        Self { root, files }
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    pub(crate) fn top_level(&self) -> Vec<String> {
        fs::read_dir(&self.root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    pub(crate) fn sources(&self) -> Vec<Source> {
        let rust = self.files.iter().filter(|path| extension(path) == "rs");
        rust.map(|path| Source::new(path, &self.read(path))).collect()
    }

    /// Everything that people wrote, the rules' own bad samples excepted.
    pub(crate) fn texts(&self) -> Vec<Text> {
        let written = self.files.iter().filter(|path| is_text(path) && !path.starts_with("tests/tidy/"));
        written.map(|path| Text { path: path.clone(), text: self.read(path) }).collect()
    }
}

fn is_text(path: &str) -> bool {
    path.starts_with(".ci/") || TEXT.contains(&extension(path))
}

fn collect(root: &Path, below: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(below)).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if NOT_OURS.contains(&name.as_str()) || name == "node_modules" || name == "__pycache__" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            collect(root, &path, files);
        } else {
            files.push(path);
        }
    }
}

/// Entries of the top level that do not belong there, and those that are missing.
pub(crate) fn strays(entries: &[String]) -> Findings {
    let known = |entry: &&str| REQUIRED.contains(entry) || ALLOWED.contains(entry) || NOT_OURS.contains(entry);
    let strays = entries.iter().map(String::as_str).filter(|entry| !known(entry));
    let missing = REQUIRED.iter().filter(|required| !entries.iter().any(|entry| entry == *required));
    strays
        .map(|entry| format!("{entry} does not belong to the top level"))
        .chain(missing.map(|entry| format!("{entry} is missing")))
        .collect()
}

/// More crates in the lock file than were decided on.
pub(crate) fn too_many_crates(lock: &str) -> Findings {
    let crates = lock.lines().filter(|line| *line == "[[package]]").count();
    if crates > MOST_CRATES {
        vec![format!("Cargo.lock holds {crates} crates, the most is {MOST_CRATES}; do without one, or raise the ceiling on purpose")]
    } else {
        Findings::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_CRATES, REQUIRED, is_text, strays, too_many_crates};

    fn top_level(more: &[&str]) -> Vec<String> {
        REQUIRED.iter().chain(more).map(ToString::to_string).collect()
    }

    #[test]
    fn a_stray_and_a_missing_entry_are_found() {
        assert!(strays(&top_level(&["target", ".github"])).is_empty());
        assert_eq!(strays(&top_level(&["notes.txt"])), ["notes.txt does not belong to the top level"]);
        assert_eq!(strays(&top_level(&[])[1..]), [format!("{} is missing", REQUIRED[0])]);
    }

    #[test]
    fn one_crate_too_many_is_found() {
        let lock = |crates: usize| "[[package]]\nname = \"a\"\n".repeat(crates);
        assert!(too_many_crates(&lock(MOST_CRATES)).is_empty());
        assert_eq!(too_many_crates(&lock(MOST_CRATES + 1)).len(), 1);
    }

    #[test]
    fn texts_are_told_by_their_names() {
        assert!(is_text("docs/API.md") && is_text(".ci/run") && is_text("a/.clippy.toml"));
        assert!(!is_text("tests/vectors/a.csv") && !is_text("LICENSE-MIT"));
    }
}
