//! How to speak to an inference server: what goes over the wire for a prompt, what a piece of an
//! answer means, what can be asked beside it. Owns dialects and HTTP; knows nothing of load, clocks
//! or results.

pub mod address;
pub mod answer;
pub mod connection;
pub mod control;
mod custom;
pub mod frames;
pub mod http;
mod llama_cpp;
mod ollama;
mod openai;
pub mod piece;
pub mod simulated;
mod usual_chunk;
pub mod wire;
