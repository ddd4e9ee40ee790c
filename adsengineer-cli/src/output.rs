//! The only file that prints. Data goes to stdout, everything else to stderr; a table and `--json` are two renderings of one report.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::error::{CliError, Exit};

/// The version of every JSON object printed.
pub const SCHEMA_VERSION: u32 = 1;

/// When to use colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Even into a file.
    Always,
    /// Never.
    Never,
}

/// What a command has to say.
#[derive(Debug)]
pub struct Report {
    /// For people.
    pub text: String,
    /// For programs: an object; `schema_version` is added.
    pub json: Value,
    /// How the program ends.
    pub exit: Exit,
}

impl Report {
    /// A report of something that went well.
    pub fn ok(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json, exit: Exit::Ok }
    }

    /// A report of something that went well, of a shape that says everything.
    pub fn of(text: impl Into<String>, shape: &impl serde::Serialize) -> Self {
        Self::ok(text, serde_json::to_value(shape).unwrap_or_default())
    }

    /// Nothing more to say: everything has been printed.
    pub fn silent() -> Self {
        Self::ok("", Value::Null)
    }

    /// The same with another ending.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

/// Where and how to print.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
    color: bool,
}

impl Output {
    /// Decides on colour from the flag, `NO_COLOR`, `CLICOLOR_FORCE`, `TERM` and the terminal.
    pub fn new(json: bool, quiet: bool, color: Color) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty() && v != "0");
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto if set("NO_COLOR") || dumb => false,
            Color::Auto => set("CLICOLOR_FORCE") || std::io::stderr().is_terminal(),
        };
        Self { json, quiet, color }
    }

    /// Whether output is for programs.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Prints a report and says how the program ends.
    pub fn report(self, report: Report) -> Exit {
        if self.json && !report.json.is_null() {
            let mut json = report.json;
            if let Some(object) = json.as_object_mut() {
                object.insert("schema_version".to_owned(), SCHEMA_VERSION.into());
            }
            self.line(&json.to_string());
        } else if !self.json && !report.text.is_empty() {
            self.line(report.text.trim_end_matches('\n'));
        }
        report.exit
    }

    /// Prints an error and says how the program ends.
    pub fn error(self, error: &CliError) -> Exit {
        if self.json {
            let object = json!({"code": error.code, "message": error.message, "hint": error.hint, "exit_code": error.exit as u8});
            self.stderr(&json!({"schema_version": SCHEMA_VERSION, "error": object}).to_string());
        } else {
            self.stderr(&format!("{} {}", self.paint("error:", "31;1"), error.message));
            if let Some(hint) = &error.hint {
                self.stderr(&format!("{} {hint}", self.paint("hint:", "36")));
            }
        }
        error.exit
    }

    /// Prints a line of data.
    pub fn line(self, text: &str) {
        // A reader that has gone away (`| head`) is not our failure.
        let _gone = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// Says something on stderr, unless told to be quiet.
    pub fn note(self, text: &str) {
        if !self.quiet && !self.json {
            self.stderr(text);
        }
    }

    /// Warns on stderr, unless told to be quiet; for programs as one JSON object a line, as errors are.
    pub fn warn(self, code: &str, text: &str) {
        if self.quiet {
            return;
        }
        if self.json {
            let object = json!({"code": code, "message": text});
            self.stderr(&json!({"schema_version": SCHEMA_VERSION, "warning": object}).to_string());
        } else {
            self.stderr(&format!("{} {text}", self.paint("warning:", "33;1")));
        }
    }

    /// Names an address that somebody must open; nothing goes on without it, so it is said however quiet the program is.
    pub fn visit(self, url: &str, what: &str) {
        if self.json {
            self.stderr(&json!({"schema_version": SCHEMA_VERSION, "visit": {"url": url, "message": what}}).to_string());
        } else {
            self.stderr(&format!("{what}:\n\n  {url}\n"));
        }
    }

    fn stderr(self, text: &str) {
        let _gone = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// `text` in an ANSI style, where colour is wanted.
    pub fn paint(self, text: &str, style: &str) -> String {
        if self.color { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A progress bar on stderr; hidden where nobody could see it.
    pub fn bar(self, total: u64, what: &'static str) -> ProgressBar {
        let hidden = self.quiet || self.json || !std::io::stderr().is_terminal();
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let template = if self.color {
            "{msg:9} {bar:32.cyan} {human_pos}/{human_len} {per_sec} {eta}"
        } else {
            "{msg:9} {bar:32} {human_pos}/{human_len} {per_sec} {eta}"
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.with_message(what)
    }
}

/// A table with these headings.
pub fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic).set_header(headings.to_vec());
    for row in rows {
        table.add_row(row);
    }
    table.to_string()
}
