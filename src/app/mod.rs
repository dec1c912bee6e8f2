//! What the daemon does, in terms of ports: open streams, archive windows, reconcile, report.

pub mod archive_window;
pub mod attest;
pub mod compose;
mod counting;
pub mod daemon;
pub mod data_object;
pub mod failure_policy;
pub mod object_locks;
pub mod observer;
pub mod planning;
pub mod rebuild;
pub mod reconcile;
pub mod report;
pub mod revisit;
pub mod scratch;
pub mod selection;
pub mod services;
pub mod session;
pub mod signing;
pub mod start_error;
pub mod stream;
pub mod stream_log;
pub mod survey;
pub mod verify;
