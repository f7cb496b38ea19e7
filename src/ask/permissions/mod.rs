//! Which permissions are granted and which of them are used, and the role that would do.

mod gather;
pub mod grants;
pub mod role;

pub use gather::only_cluster;
