//! How to speak to an inference server: what goes over the wire for a prompt, what a piece of an
//! answer means, what can be asked beside it. Owns dialects and HTTP; knows nothing of load, clocks
//! or results.

pub mod http;
pub mod simulated;
