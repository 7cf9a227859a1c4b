//! From a directory to requests' documents: what is there, what changed, and when it may run.
//!
//! Owns the watched tree as it is read: watching gives hints, the listing is the truth, and the
//! [`source_map`] is the picture that the controller decides from. Must not write into the tree, must
//! not validate requests, and must never take a file that cannot be read for one that is absent.

pub mod ignore;
pub mod listing;
pub mod load;
pub mod root_health;
pub mod settle;
pub mod source_file;
pub mod source_map;
pub mod watch;
pub mod watcher_task;
