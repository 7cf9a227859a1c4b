//! One binary for all integration tests: linked once, and the tests share what they start.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod architecture;
mod examples;
