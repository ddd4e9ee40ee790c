//! What written files may say: links that lead somewhere, no path of somebody's machine.

use crate::{Findings, source::extension};

/// One file of text.
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Directories that exist on one machine and not on the reader's; split, so that this file does not name them.
const MACHINES: &[&str] = &[concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/ro", "ot/")];

/// Documents under docs/ that no other Markdown file links to.
pub(crate) fn unlinked(texts: &[Text]) -> Findings {
    let documents = texts.iter().filter(|text| text.path.starts_with("docs/") && is_markdown(&text.path));
    let reached = |document: &Text| {
        let others = texts.iter().filter(|other| is_markdown(&other.path) && other.path != document.path);
        others.into_iter().any(|other| links(other).any(|(_, target)| target == document.path))
    };
    documents.filter(|document| !reached(document)).map(|document| format!("{} is linked from nowhere", document.path)).collect()
}

/// Relative links that lead to no file.
pub(crate) fn dead_links(texts: &[Text], exists: impl Fn(&str) -> bool) -> Findings {
    let markdown = texts.iter().filter(|text| is_markdown(&text.path));
    let all = markdown.flat_map(|text| links(text).map(move |(number, target)| (&text.path, number, target)));
    all.filter(|(_, _, target)| !exists(target)).map(|(path, number, target)| format!("{path}:{number}: there is no {target}")).collect()
}

fn is_markdown(path: &str) -> bool {
    extension(path) == "md"
}

/// The relative links of a Markdown file outside code blocks: line and target from the top of the repository.
fn links(text: &Text) -> impl Iterator<Item = (usize, String)> {
    let folder = text.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut fenced = false;
    text.text.lines().enumerate().flat_map(move |(index, line)| {
        fenced ^= line.trim_start().starts_with("```");
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next());
        let relative = targets.filter(|target| !fenced && !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"));
        relative.map(|target| (index + 1, join(folder, target))).collect::<Vec<_>>()
    })
}

fn join(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Absolute paths of somebody's machine.
pub(crate) fn machine_paths(text: &Text) -> Findings {
    let mut findings = Findings::new();
    for (index, line) in text.text.lines().enumerate() {
        let at_start =
            |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '}' | '~' | '*'));
        for path in MACHINES.iter().filter(|path| line.match_indices(**path).any(|(at, _)| at_start(at))) {
            findings.push(format!("{}:{}: `{path}` is a path of one machine", text.path, index + 1));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{MACHINES, Text, dead_links, machine_paths, unlinked};

    fn text(path: &str, text: &str) -> Text {
        Text { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_document_that_nothing_links_to_is_found() {
        let readme = text("README.md", "see [the API](docs/API.md#leads)");
        let texts = [readme, text("docs/API.md", "[here](CLI.md)"), text("docs/CLI.md", ""), text("docs/LOST.md", "[me](LOST.md)")];
        assert_eq!(unlinked(&texts), ["docs/LOST.md is linked from nowhere"]);
    }

    #[test]
    fn dead_links_are_found_and_web_links_left_alone() {
        let texts = [text("docs/API.md", "[a](../README.md) [b](https://example.com/x) [c](#here)\n```\n[d](e)\n```\n[f](./gone.md)")];
        assert_eq!(dead_links(&texts, |path| path == "README.md"), ["docs/API.md:5: there is no docs/gone.md"]);
    }

    #[test]
    fn paths_of_one_machine_are_found_and_urls_left_alone() {
        for path in MACHINES {
            assert_eq!(machine_paths(&text("a.md", &format!("run `{path}x`"))).len(), 1, "{path}");
            assert!(machine_paths(&text("a.md", &format!("https://example.com{path}x"))).is_empty(), "{path}");
        }
    }
}
