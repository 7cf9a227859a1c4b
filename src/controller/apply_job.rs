//! placeholder until the apply engine is merged
use super::context::Context;
pub fn start(_context: &Context, _id: uuid::Uuid, _request: &str) {}
