//! The engine against a naive model, on made-up cases that favour collisions.
//!
//! [`model`] says what correlations mean by nested loops over a list of events; [`sigma`] what
//! selections and conditions mean, read from the specification. The properties are: engine = model;
//! order of arrival within grace, batches, restarts, spurious timers and duplicates change nothing;
//! what the index lets through is what a slow evaluation without it finds.

mod case;
mod correlation;
pub(crate) mod engine;
mod memory;
mod model;
mod sigma;
mod sigma_model;
