//! Tests against what is real: a Docker daemon, processes, the file system. One binary, so that it
//! links once; a file a subject.

mod executor_docker;
mod executor_process;
mod polling;
