//! Huawei Cloud Workspace as a record source: requests signed, paced and sent; answers streamed, errors typed.

mod client;
mod count;
pub mod credentials;
mod errors;
pub mod export_v2;
mod pacer;
mod query;
mod said;
#[cfg(test)]
mod scripted_server;
mod signer;
mod skew;
