//! x
pub mod codes;
#[cfg(feature="engine")]
mod json;
#[cfg(feature="engine")]
mod person;
#[cfg(feature="engine")]
pub mod render;
#[cfg(feature="engine")]
mod answer;
#[cfg(feature="engine")]
mod failure;
#[cfg(feature="engine")]
mod status;
