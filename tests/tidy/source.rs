//! A Rust file as the rules see it: its code with comments and string contents blanked, and which lines are tests.

/// One Rust file.
pub(crate) struct Source {
    /// From the top of the repository, with forward slashes.
    pub(crate) path: String,
    /// The lines as they stand.
    pub(crate) lines: Vec<String>,
    /// The same lines without comments and without what is inside quotes.
    pub(crate) code: Vec<String>,
    /// The lines with comments blanked and strings kept, for rules about what strings say.
    pub(crate) spoken: Vec<String>,
    tests: Vec<bool>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let code: Vec<String> = blank(text, true).lines().map(str::to_owned).collect();
        let spoken = blank(text, false).lines().map(str::to_owned).collect();
        let tests = if is_test_file(path) { vec![true; lines.len()] } else { test_lines(&code) };
        Self { path: path.to_owned(), lines, code, spoken, tests }
    }

    /// The numbers and the code of the lines outside tests.
    pub(crate) fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered(&self.code, false)
    }

    /// The numbers and the code of the lines of tests.
    pub(crate) fn tests(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered(&self.code, true)
    }

    /// The lines outside tests with their strings.
    pub(crate) fn production_strings(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered(&self.spoken, false)
    }

    fn numbered<'a>(&'a self, lines: &'a [String], tests: bool) -> impl Iterator<Item = (usize, &'a str)> {
        let chosen = lines.iter().zip(&self.tests).enumerate().filter(move |(_, (_, test))| **test == tests);
        chosen.map(|(index, (line, _))| (index + 1, line.as_str()))
    }

    /// The last part of the path without `.rs`.
    pub(crate) fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.strip_suffix(".rs").unwrap_or(name)
    }
}

/// What follows the last dot of a path.
pub(crate) fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "benches" | "tests.rs"))
}

/// Marks `#[cfg(test)] mod … { }` and other items for tests only up to the closing brace, as rustfmt lays them out.
fn test_lines(code: &[String]) -> Vec<bool> {
    let mut marks = vec![false; code.len()];
    let mut index = 0;
    while index < code.len() {
        let start = index;
        index += 1;
        if !["#[cfg(test)]", "#[cfg(all(test,"].iter().any(|attribute| code[start].trim_start().starts_with(attribute)) {
            continue;
        }
        while index < code.len() && code[index].trim_start().starts_with("#[") {
            index += 1;
        }
        if !code.get(index).is_some_and(|line| line.ends_with(['{', '('])) {
            continue;
        }
        let close = format!("{}}}", &code[start][..code[start].len() - code[start].trim_start().len()]);
        while index < code.len() && code[index] != close {
            index += 1;
        }
        index = (index + 1).min(code.len());
        marks[start..index].fill(true);
    }
    marks
}

/// Replaces comments by spaces and, with `strings`, every string by an empty one; line breaks stay.
fn blank(text: &str, strings: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let piece = token(rest, out.chars().next_back());
        let comment = piece.starts_with("//") || piece.starts_with("/*");
        let quoted = !comment && piece.len() > 1 && piece.ends_with(['"', '#']) && piece.contains('"');
        match (comment, quoted && strings) {
            (true, _) => out.extend(piece.chars().map(|c| if c == '\n' { c } else { ' ' })),
            (_, true) => out.extend(["\"", &"\n".repeat(piece.matches('\n').count()), "\""]),
            _ => out.push_str(piece),
        }
        debug_assert!(!piece.is_empty(), "no progress at {first:?}");
        rest = &rest[piece.len()..];
    }
    out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The comment, string or single character that `rest` begins with.
fn token(rest: &str, before: Option<char>) -> &str {
    let one = rest.chars().next().map_or(0, char::len_utf8);
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let length = if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        rest.find("*/").map_or(rest.len(), |end| end + 2)
    } else if rest.starts_with('"') {
        string_end(rest)
    } else if let Some(hashes) = raw_string(rest).filter(|_| !in_word) {
        let close = format!("\"{}", "#".repeat(hashes));
        let open = rest.find('"').unwrap_or(0) + 1;
        rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len())
    } else if rest.starts_with("'\"'") {
        3
    } else if let Some(escape) = rest.strip_prefix("'\\") {
        escape.char_indices().skip(1).find(|(_, c)| *c == '\'').map_or(one, |(end, _)| end + 3)
    } else {
        one
    };
    &rest[..length]
}

fn string_end(rest: &str) -> usize {
    let mut escaped = false;
    for (index, character) in rest.char_indices().skip(1) {
        match character {
            '"' if !escaped => return index + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

/// How many `#` a raw string at the start of `rest` has.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r').or_else(|| rest.strip_prefix("br"))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

#[cfg(test)]
mod tests {
    use super::Source;

    fn code(text: &str) -> String {
        Source::new("x/src/x.rs", text).code.join("\n")
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        assert_eq!(code("let a = 1; // tokio"), "let a = 1;");
        assert_eq!(code("/* a\nb */ c"), "\n     c");
        assert_eq!(code(r#"f("x \" // y", z)"#), r#"f("", z)"#);
        assert_eq!(code("f(r#\"a \" b\"#, c)"), "f(\"\", c)");
        assert_eq!(code("match c { '\"' => a, '\\'' => b, _ => c } // d"), "match c { '\"' => a, '\\'' => b, _ => c }");
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
    }

    #[test]
    fn strings_are_kept_where_a_rule_asks_for_them() {
        let source = Source::new("x/src/x.rs", "a(\"SELECT 1\") // SELECT 2");
        assert_eq!(source.production_strings().collect::<Vec<_>>(), [(1, "a(\"SELECT 1\")")]);
    }

    #[test]
    fn a_test_module_ends_at_its_own_brace() {
        let source = Source::new("x/src/x.rs", "a\n#[cfg(test)]\nmod tests {\n    fn b() {\n    }\n}\nc");
        assert_eq!(source.production().map(|(number, _)| number).collect::<Vec<_>>(), [1, 7]);
        assert_eq!(source.tests().count(), 5);
        let example = Source::new("x/src/x.rs", "#[cfg(all(test, feature = \"a\"))]\nfn b(\n    c: u8,\n) {\n}\nd");
        assert_eq!(example.production().map(|(number, _)| number).collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn files_under_tests_are_tests_throughout() {
        assert_eq!(Source::new("tests/a.rs", "a\nb").production().count(), 0);
        assert_eq!(Source::new("x/src/store/tests.rs", "a\nb").tests().count(), 2);
    }
}
