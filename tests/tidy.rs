//! The house rules that no compiler checks, over every file of the repository. Each rule is a function in `tidy/`
//! with a test that shows it refusing a bad sample.

#![expect(clippy::unwrap_used, reason = "a checkout that cannot be read fails the test")]

#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/text.rs"]
mod text;
#[path = "tidy/tree.rs"]
mod tree;

use std::io::Write;

use source::Source;
use tree::Repository;

/// Where and what; one line for the reader.
pub(crate) type Findings = Vec<String>;

#[track_caller]
fn assert_tidy(findings: &Findings) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

fn over_sources(check: fn(&Source) -> Findings) -> Findings {
    Repository::here().sources().iter().flat_map(check).collect()
}

#[test]
fn the_repository_is_read_at_all() {
    let repository = Repository::here();
    assert!(repository.sources().len() > 10, "only {} Rust files were found", repository.sources().len());
    assert!(repository.texts().iter().any(|text| text.path == "README.md"));
    assert!(layers::Layers::parse(&repository.read("adsengineer-core/src/lib.rs")).pure().count() > 5);
}

#[test]
fn words_and_rules_touch_nothing_of_the_world() {
    let repository = Repository::here();
    let layers = layers::Layers::parse(&repository.read("adsengineer-core/src/lib.rs"));
    let pure = repository.sources().into_iter().filter(|source| layers.is_pure(&source.path));
    assert_tidy(&pure.flat_map(|source| layers::worldly(&source)).collect());
}

#[test]
fn every_module_of_the_core_is_a_word_a_rule_or_a_door() {
    assert_tidy(&layers::unsorted(&Repository::here().read("adsengineer-core/src/lib.rs")));
}

#[test]
fn files_are_short_enough_to_read() {
    let (warnings, findings): (Vec<_>, Vec<_>) =
        over_sources(code::lengths).into_iter().partition(|finding| finding.starts_with(code::WARNING));
    for warning in warnings {
        writeln!(std::io::stderr(), "{warning}").unwrap();
    }
    assert_tidy(&findings);
}

#[test]
fn modules_are_named_for_what_they_are_about() {
    assert_tidy(&over_sources(code::names));
}

#[test]
fn only_the_output_module_prints() {
    assert_tidy(&over_sources(code::prints));
}

#[test]
fn nothing_outside_tests_unwraps() {
    assert_tidy(&over_sources(code::unwraps));
}

#[test]
fn nothing_is_left_unfinished_or_switched_off() {
    assert_tidy(&over_sources(code::unfinished));
}

#[test]
fn no_test_sleeps() {
    assert_tidy(&over_sources(code::sleeps));
}

#[test]
fn the_top_level_holds_what_it_must_and_nothing_else() {
    assert_tidy(&tree::strays(&Repository::here().top_level()));
}

#[test]
fn dependencies_stay_below_their_ceiling() {
    assert_tidy(&tree::too_many_crates(&Repository::here().read("Cargo.lock")));
}

#[test]
fn every_document_can_be_reached_by_a_link() {
    assert_tidy(&text::unlinked(&Repository::here().texts()));
}

#[test]
fn every_relative_link_leads_to_a_file() {
    let repository = Repository::here();
    assert_tidy(&text::dead_links(&repository.texts(), |path| repository.has(path)));
}

#[test]
fn the_readme_and_ci_run_the_same_tests() {
    let repository = Repository::here();
    for file in ["README.md", "docs/CONTRIBUTING.md", ".ci/coverage.py"] {
        assert!(repository.read(file).contains(tree::TEST_COMMAND), "{file} does not name `{}`", tree::TEST_COMMAND);
    }
}

#[test]
fn no_text_speaks_of_one_persons_machine() {
    let repository = Repository::here();
    assert_tidy(&repository.texts().iter().flat_map(text::machine_paths).collect());
}
