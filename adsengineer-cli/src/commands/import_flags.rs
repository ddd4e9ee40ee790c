//! The import flags of `check` and `upload`, and the inputs they read.

use std::{
    fs::File,
    io::{BufReader, Read, Seek},
    path::Path,
};

use adsengineer_core::{
    consent::ConsentState,
    import::{Options, assignment},
};

use crate::{
    context::Context,
    error::{CliError, Exit},
};

/// How the file is to be read.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Import options")]
pub struct ImportFlags {
    /// A column of the file and its name in the template: 'Close Date=Conversion Time'
    #[arg(long, value_name = "FILE=TEMPLATE", value_parser = pair)]
    pub map: Vec<(String, String)>,
    /// A value for an absent column or empty cells: 'Conversion Currency=EUR'
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
    /// Zone of times that name none: Europe/Berlin or +0100
    #[arg(long, value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// Format of times in strftime terms: '%d.%m.%Y %H:%M'
    #[arg(long, value_name = "FORMAT")]
    pub time_format: Option<String>,
    /// What points and commas in values mean: auto, point or comma
    #[arg(long, value_name = "WHICH")]
    pub decimal: Option<String>,
    /// Text encoding, for example windows-1252
    #[arg(long, value_name = "LABEL")]
    pub encoding: Option<String>,
    /// auto, csv or jsonl
    #[arg(long, value_name = "FORM")]
    pub format: Option<String>,
    /// Leave out rows with this finding, for example NO_IDENTIFIER
    #[arg(long, value_name = "CODE")]
    pub skip: Vec<String>,
    /// Leave out columns that the template does not have
    #[arg(long)]
    pub ignore_unknown_columns: bool,
    /// What rows that say nothing about consent mean; never assumed
    #[arg(long, value_name = "ANSWER", value_parser = answer)]
    pub default_consent: Option<ConsentState>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    assignment(text).ok_or_else(|| "write it as 'LEFT=RIGHT', neither side empty".to_owned())
}

fn answer(text: &str) -> Result<ConsentState, String> {
    match text {
        "granted" => Ok(ConsentState::Granted),
        "denied" => Ok(ConsentState::Denied),
        _ => Err("granted or denied".to_owned()),
    }
}

impl ImportFlags {
    /// The flags over the `[import]` table of the configuration.
    pub fn options(&self, context: &Context, default_action: Option<&str>) -> Result<Options, CliError> {
        let table = context.settings.import();
        let both = |flags: &[(String, String)], file: &std::collections::BTreeMap<String, String>| {
            let given = |name: &str| flags.iter().any(|(from, _)| from == name);
            let rest = file.iter().filter(|(name, _)| !given(name)).map(|(a, b)| (a.clone(), b.clone()));
            flags.iter().cloned().chain(rest).collect()
        };
        let skip = self.skip.iter().chain(&table.skip).map(|code| code.parse().map_err(|e| CliError::usage(format!("--skip: {e}"))));
        let mut options = Options {
            map: both(&self.map, &table.map),
            set: both(&self.set, &table.set),
            time_zone: self.time_zone.clone().or_else(|| table.time_zone.clone()),
            time_format: self.time_format.clone().or_else(|| table.time_format.clone()),
            encoding: self.encoding.clone().or_else(|| table.encoding.clone()),
            skip: skip.collect::<Result<_, _>>()?,
            ignore_unknown_columns: self.ignore_unknown_columns || table.ignore_unknown_columns,
            default_consent: self.default_consent,
            default_action: default_action.map(str::to_owned),
            ..Options::default()
        };
        if let Some(decimal) = self.decimal.as_ref().or(table.decimal.as_ref()) {
            options.decimal = decimal.parse().map_err(|e| CliError::usage(format!("--decimal: {e}")))?;
        }
        if let Some(format) = &self.format {
            options.format = format.parse().map_err(|e| CliError::usage(format!("--format: {e}")))?;
        }
        Ok(options)
    }
}

/// A file to be read more than once; standard input is kept in a nameless temporary file meanwhile.
pub struct Input {
    file: File,
    /// The name in findings and in the intake row.
    pub name: String,
}

impl Input {
    /// Opens `path`, `-` being standard input.
    pub fn open(path: &Path) -> Result<Self, CliError> {
        if path.as_os_str() == "-" {
            let mut file = tempfile::tempfile()?;
            std::io::copy(&mut std::io::stdin().lock(), &mut file)?;
            return Ok(Self { file, name: "-".to_owned() });
        }
        let unreadable = |reason: &dyn std::fmt::Display| {
            CliError::new(Exit::Usage, "FILE_NOT_READABLE", format!("{} cannot be read: {reason}", path.display()))
                .hint("check the path; `-` reads standard input")
        };
        let file = File::open(path).map_err(|e| unreadable(&e))?;
        if file.metadata().map_err(|e| unreadable(&e))?.is_dir() {
            return Err(unreadable(&"it is a folder"));
        }
        let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        Ok(Self { file, name })
    }

    /// Reads from the start.
    pub fn read(&self) -> Result<impl Read + use<>, CliError> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(BufReader::with_capacity(256 << 10, file))
    }
}
