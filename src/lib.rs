//! connvault archives every completed window of Huawei Cloud Workspace connection records into object storage:
//! once, provably, before the provider forgets it.
//!
//! Imports point one way: `domain ← ports ← adapters ← app ← cli`; `config` sees `domain` only.

pub mod adapters;
pub mod config;
pub mod domain;
pub mod ports;
