//! Conversion files as people have them, read through the public interface: encodings, separators, zones, daylight
//! saving, spreadsheet damage, bad input. Each case is a file and the exact rows or fault expected of it.

#![expect(clippy::unwrap_used, clippy::format_collect, reason = "a test may panic, and short files need no care")]

#[path = "import_files/harness.rs"]
mod harness;

#[path = "import_files/damage.rs"]
mod damage;
#[path = "import_files/faults.rs"]
mod faults;
#[path = "import_files/forms.rs"]
mod forms;
#[path = "import_files/hostile.rs"]
mod hostile;
#[path = "import_files/identifiers.rs"]
mod identifiers;
#[path = "import_files/rejects.rs"]
mod rejects;
#[path = "import_files/times.rs"]
mod times;
#[path = "import_files/values.rs"]
mod values;
