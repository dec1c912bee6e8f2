//! Huawei Cloud Workspace as a record source: requests signed, paced and sent; answers streamed, errors typed.

pub mod agency;
pub mod api_choice;
mod body;
mod client;
mod count;
pub mod credentials;
mod errors;
mod export_centre;
pub mod export_v2;
pub mod export_v3;
pub mod iam;
pub mod logins;
pub mod notice;
mod pacer;
pub mod probe;
mod query;
mod said;
#[cfg(test)]
mod scripted_server;
mod settings;
mod signer;
mod skew;
mod trail;
mod unanswered;
pub mod upkeep;

pub use client::Project;
pub use settings::{SettingsError, Timeouts, WorkspaceSettings};
