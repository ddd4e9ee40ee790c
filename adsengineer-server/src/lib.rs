//! The HTTP side of AdsEngineer: today the sandbox, a local stand-in for the ad platforms.

pub mod sandbox;
