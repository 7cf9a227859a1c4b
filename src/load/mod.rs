//! The measuring side: `benchlet measure`, a process of its own that sends requests by a frozen plan and
//! writes what it saw. Owns the sockets, the clock and the records; judges nothing and knows no store.

mod case_run;
mod conversation_case;
mod conversation_fit;
mod conversation_run;
mod descriptors;
mod exchange;
mod lane;
mod local_tokenizer;
pub mod measure;
mod pace;
mod progress;
mod reach;
mod recorder;
mod sampling;
mod shown;
mod stop;
mod token_ladder;
mod workload;

pub use conversation_run::PrefixCounters;
pub use descriptors::raise_descriptor_limit;
pub use local_tokenizer::{LocalTokenizer, bytes_of as tokenizer_bytes};
pub use progress::{PROGRESS_FILE, Progress};
pub use reach::Reached;
pub use sampling::{Look, Looked};
pub use workload::bad_lines;
