//! Placeholder for the next step.
