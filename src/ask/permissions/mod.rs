//! Which permissions are granted and which of them are used, and the role that would do.

mod gather;
mod grants;
mod role;

pub use grants::{Granted, QUESTION};
pub use role::{QUESTION as ROLE_QUESTION, SuggestedRole};
