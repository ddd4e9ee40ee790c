//! The HTTP face of AdsEngineer: configuration today, and the sandbox that stands in for the ad platforms.

pub mod config;
pub mod sandbox;
