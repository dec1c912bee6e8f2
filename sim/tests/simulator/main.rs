//! The simulator over real HTTP, as a client meets it.

mod bulk;
mod client;
mod export;
mod faults;
mod iam;
mod metadata;
mod program;
mod query;
mod running;
mod sdk;
mod signature;
mod task_client;
mod task_list;
mod tasks;
mod vectors;
mod withdrawal;
