//! Files as such: atomic replacement, locks that name their holder, and reads that cannot leave a root.
//!
//! Owns the system calls that make these safe. Knows nothing of requests, status or settings, and
//! imports nothing of ours.

pub mod atomic_write;
pub mod beneath;
pub mod lock;
pub mod private_dir;
pub mod stat;
