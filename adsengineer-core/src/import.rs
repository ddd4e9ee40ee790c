//! Conversion files that people have: Google's templates, messy exports, JSON lines.
//!
//! Streaming, in memory that does not grow with the file. A row is a [`Candidate`], an [`Adjustment`], denied,
//! skipped, or refused with findings; a fault of the whole file ends the reading with a [`FileFault`].
//!
//! ```
//! use adsengineer_core::import::{Context, Options, Reader, RowKind};
//!
//! let file = "Parameters:TimeZone=Europe/Berlin\n\
//!     Google Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency,Ad User Data\n\
//!     Cj0KCQ_example,Qualified lead,2026-11-18 14:05:00,120.00,EUR,Granted\n";
//! let context = Context { org: "default".parse()?, now: "2026-11-20T00:00:00Z".parse()? };
//! let mut reader = Reader::open(file.as_bytes(), &Options::default(), &context)?;
//! let row = reader.next()?.ok_or("a row")?;
//! let RowKind::Conversion(candidate) = row.kind else { return Err("a conversion".into()) };
//! assert_eq!((row.number, candidate.occurred_at.to_string().as_str()), (3, "2026-11-18T13:05:00Z"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use candidate::{Adjustment, Candidate, Change, Target};
pub use columns::Column;
pub use judge::{Judge, Judged};
pub use options::{Decimal, Format, InvalidOption, Options, assignment};
pub use reader::{Context, FileFault, Raw, Reader, Row, RowKind};
pub use rejects::{Rejects, RejectsFailed};
pub use summary::Summary;

mod candidate;
mod cells;
mod columns;
mod damage;
mod decode;
mod found;
mod header;
mod identifiers;
mod json;
mod judge;
mod opening;
mod options;
mod quoted;
mod reader;
mod records;
mod rejects;
mod rules;
mod seen;
mod summary;
mod time;
mod value;
mod zone;
