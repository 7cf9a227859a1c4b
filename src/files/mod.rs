//! Files as such: atomic replacement, locks that name their holder, reads that cannot leave a root or a
//! bound.
//!
//! Owns the system calls that make these safe. Knows nothing of requests, status or settings, and
//! imports nothing of ours.

pub mod atomic_write;
pub mod beneath;
pub mod boot;
pub mod bounded;
pub mod lock;
pub mod private_dir;
pub mod stat;
