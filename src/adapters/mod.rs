//! The world, one technology a file.

pub mod cron;
pub mod daemon_page;
pub mod directory_store;
pub mod disk;
pub mod end_mark;
pub mod heartbeat;
pub mod host_names;
pub mod http;
pub mod inspect;
pub mod least_rate;
mod local_content;
pub mod proxy;
mod remote_text;
pub mod s3_store;
pub mod signature;
pub mod spool;
pub mod sqlite_ledger;
pub mod state_dir;
pub mod system_clock;
pub mod systemd;
pub mod user;
pub mod workspace;
