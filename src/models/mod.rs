//! Model files: brings them from a hub or a URL into a cache laid out as the hub's own tools lay theirs
//! out, and checks those that are there. Owns the cache's folders and HTTP to hubs; decides neither when
//! a file is brought nor which files of a repository a request takes.

mod access;
mod bring;
mod cache_layout;
mod cached;
mod disk_space;
mod download;
mod error;
mod hashing;
mod http;
mod hub;
mod known_hashes;
mod local_file;
mod looks;
mod partial;
mod patience;
mod presence;
mod progress;
pub mod shown;

pub use access::HubAccess;
pub use bring::{ModelCache, bring};
pub use cached::{CachedModel, cached};
pub use error::ModelError;
pub use known_hashes::{Forgetful, Keeping, KnownHashes};
pub use presence::{Presence, presence};
