//! Words, rules and doors: what `adsengineer-core/src/lib.rs` says each module is, and what the first two must not touch.

use std::collections::BTreeMap;

use crate::{Findings, source::Source};

/// Code that reaches the world or brings a runtime, and what to do instead.
const WORLDLY: &[(&str, &str)] = &[
    ("tokio", "a runtime belongs to the doors"),
    ("async fn", "waiting belongs to the doors"),
    (".await", "waiting belongs to the doors"),
    ("rusqlite", "databases belong to the store"),
    ("tokio_postgres", "databases belong to the store"),
    ("reqwest", "HTTP belongs to the destinations"),
    ("hyper::", "HTTP belongs to the destinations"),
    ("axum", "HTTP belongs to the server"),
    ("std::env", "take settings as arguments"),
    ("env::var", "take settings as arguments"),
    ("std::net", "the network belongs to the doors"),
    ("std::process", "processes belong to the CLI"),
    ("std::thread", "threads belong to the doors"),
    ("SystemTime", "take the time as an argument"),
    ("Instant::now", "take the time as an argument"),
    ("Timestamp::now", "take the time as an argument"),
    ("Zoned::now", "take the time as an argument"),
    ("rand::", "take randomness as an argument"),
];

/// How statements begin; in strings only.
const SQL: &[&str] = &["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "CREATE TABLE ", "PRAGMA "];

/// The module lists of the core's `lib.rs`.
pub(crate) struct Layers(BTreeMap<String, Layer>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Words,
    Rules,
    Doors,
}

impl Layers {
    pub(crate) fn parse(lib: &str) -> Self {
        let modules = declarations(lib).filter_map(|line| Some((line.module.to_owned(), line.layer?)));
        Self(modules.collect())
    }

    /// The modules that must not touch the world.
    pub(crate) fn pure(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, layer)| **layer != Layer::Doors).map(|(module, _)| module.as_str())
    }

    /// Whether a file belongs to a word or a rule, itself or by its parent module.
    pub(crate) fn is_pure(&self, path: &str) -> bool {
        let Some(inner) = path.strip_prefix("adsengineer-core/src/") else { return false };
        let module = inner.split('/').next().unwrap_or(inner);
        self.pure().any(|pure| pure == module.strip_suffix(".rs").unwrap_or(module))
    }
}

struct Declaration<'a> {
    number: usize,
    module: &'a str,
    layer: Option<Layer>,
    conditional: bool,
}

fn declarations(lib: &str) -> impl Iterator<Item = Declaration<'_>> {
    let (mut layer, mut conditional) = (None, false);
    lib.lines().enumerate().filter_map(move |(index, line)| {
        match line.split_whitespace().collect::<Vec<_>>().get(..2) {
            Some(["//", "words"]) => layer = Some(Layer::Words),
            Some(["//", "rules"]) => layer = Some(Layer::Rules),
            Some(["//", "doors"]) => layer = Some(Layer::Doors),
            _ => {}
        }
        let was_conditional = std::mem::replace(&mut conditional, line.starts_with("#[cfg("));
        let module = line.strip_suffix(';')?.rsplit_once("mod ").filter(|(before, _)| before.is_empty() || before.starts_with("pub"))?.1;
        Some(Declaration { number: index + 1, module, layer, conditional: was_conditional })
    })
}

/// Modules of `lib.rs` under no heading, and words or rules that need a feature.
pub(crate) fn unsorted(lib: &str) -> Findings {
    let mut findings = Findings::new();
    for Declaration { number, module, layer, conditional } in declarations(lib) {
        let at = format!("adsengineer-core/src/lib.rs:{number}: `{module}`");
        match layer {
            None => findings.push(format!("{at} stands under none of `// words`, `// rules`, `// doors`")),
            Some(Layer::Words | Layer::Rules) if conditional => findings.push(format!("{at} is a word or rule and must need no feature")),
            Some(_) => {}
        }
    }
    findings
}

/// What a word or rule file does that only a door may do.
pub(crate) fn worldly(source: &Source) -> Findings {
    let mut findings = Findings::new();
    for (number, line) in source.production() {
        for (word, instead) in WORLDLY.iter().filter(|(word, _)| has_word(line, word)) {
            findings.push(format!("{}:{number}: `{word}` in a word or rule; {instead}", source.path));
        }
    }
    for (number, line) in source.production_strings() {
        if SQL.iter().any(|start| line.contains(&format!("\"{start}"))) {
            findings.push(format!("{}:{number}: SQL in a word or rule; it belongs to the store", source.path));
        }
    }
    findings
}

/// Whether `word` stands in `line` and is not the tail of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let named = word.starts_with(|c: char| c.is_alphabetic());
    line.match_indices(word).any(|(at, _)| !named || !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::{Layers, unsorted, worldly};
    use crate::source::Source;

    const LIB: &str = "// words\npub mod money;\n\n// rules: pure\nmod import;\n\n// doors\n#[cfg(feature = \"engine\")]\npub mod store;\n";

    fn findings(text: &str) -> Vec<String> {
        worldly(&Source::new("adsengineer-core/src/money.rs", text))
    }

    #[test]
    fn files_belong_to_the_layer_of_their_module() {
        let layers = Layers::parse(LIB);
        let pure = |path: &str| layers.is_pure(&format!("adsengineer-core/src/{path}"));
        assert!(pure("money.rs") && pure("import.rs") && pure("import/read/csv.rs"));
        assert!(!pure("store.rs") && !pure("store/sqlite.rs") && !pure("lib.rs"));
        assert!(!layers.is_pure("adsengineer-server/src/money.rs"));
    }

    #[test]
    fn a_module_without_a_layer_and_a_word_behind_a_feature_are_found() {
        assert!(unsorted(LIB).is_empty());
        assert_eq!(unsorted("pub mod stray;\n// words\npub mod money;\n").len(), 1);
        assert_eq!(unsorted("// words\n#[cfg(feature = \"engine\")]\npub mod money;\npub mod id;\n").len(), 1);
    }

    #[test]
    fn runtimes_clocks_settings_and_chance_are_found() {
        for bad in [
            "use tokio::sync::mpsc;",
            "let now = std::time::SystemTime::now();",
            "let now = Instant::now();",
            "let now = jiff::Timestamp::now();",
            "let home = std::env::var_os(name);",
            "let client = reqwest::Client::new();",
            "use axum::Router;",
            "use rusqlite::Connection;",
            "let x = rand::random();",
            "pub async fn send() {}",
            "let sql = \"SELECT 1\";",
        ] {
            assert!(!findings(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn comments_tests_and_longer_names_are_no_offence() {
        assert!(findings("// like tokio does\nlet operand::x = 1; let strand = brand::NAME;").is_empty());
        assert!(findings("#[cfg(test)]\nmod tests {\n    use tokio::time;\n}").is_empty());
        assert!(findings("error(\"cannot UPDATE a lead\")").is_empty());
    }
}
