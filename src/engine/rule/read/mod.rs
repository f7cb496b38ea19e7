//! Reading: from YAML text to checked syntax. Nothing is resolved here: what one document alone can
//! get wrong is reported, and names stay names.

pub(in crate::engine) mod correlation;
pub(in crate::engine) mod document;
pub(in crate::engine) mod extension;
pub(in crate::engine) mod header;
pub(in crate::engine) mod identities;
pub(in crate::engine) mod list;
pub(in crate::engine) mod modifier;
pub(in crate::engine) mod names;
pub(in crate::engine) mod pattern;
pub(in crate::engine) mod record;
pub(in crate::engine) mod risk;
pub(in crate::engine) mod schedule;
pub(in crate::engine) mod selection;
