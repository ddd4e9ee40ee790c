//! x
pub mod codes;
#[cfg(feature="engine")]
mod json;
#[cfg(feature="engine")]
mod person;
#[cfg(feature="engine")]
pub mod render;
