//! The Workspace API over real HTTP, for tests, examples and benches.
//!
//! A [`Simulator`] listens on a loopback port and answers the operations on connection records: the v2 export (a
//! file in the body), the v3 export (a task in the export centre, whose [`Fate`] a test decides) and the query (JSON
//! pages). Beside them, on the same port, stand the identity service, which gives tokens to whoever knows a password
//! ([`Builder::iam_user`]), and the metadata service of a virtual machine, which gives temporary keys to whoever asks
//! ([`Metadata`]). The v2 export can be withdrawn while a client works with it ([`Withdrawal`]).
//!
//! The simulator checks every request's signature itself, from a reading of the vendor's rules that shares nothing
//! with the daemon's signer, so that a mistake on one side shows. What the vendor leaves undocumented is a switch
//! here ([`Bounds`], [`Format`], the content type), and what goes wrong in the field is a [`Fault`] that a test can
//! script.
//!
//! ```no_run
//! # async fn demo() -> std::io::Result<()> {
//! use connvault_sim::{Endpoint, Fault, Records, Rule, Simulator};
//!
//! let records = Records::seeded(7, "2026-11-01T00:00Z".parse().unwrap(), "2026-11-08T00:00Z".parse().unwrap(), 200);
//! let sim = Simulator::builder().records(records).start().await?;
//! sim.faults().add(Rule::new(Fault::status(503)).on(Endpoint::Export).times(2));
//! println!("{}", sim.endpoint());
//! sim.stop().await;
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

mod answer;
mod builder;
mod bulk;
mod connections;
mod endpoint;
mod export_centre;
mod fault_effect;
mod fault_script;
mod faults;
mod iam;
mod instant;
mod keys;
mod metadata;
mod records;
mod render;
mod request_log;
mod seed;
mod selection;
mod server;
pub mod signature;
mod simulator;
mod tasks;
mod uri;
mod wire;
mod withdrawal;

pub use builder::{Builder, DEFAULT_PROJECT_ID};
pub use endpoint::Endpoint;
pub use fault_script::BadFaultScript;
pub use faults::{Fault, Faults, RetryAfter, Rule};
pub use instant::system_clock;
pub use keys::{Key, Keys};
pub use metadata::Metadata;
pub use records::{Record, Records};
pub use render::Format;
pub use request_log::LoggedRequest;
pub use selection::{Bounds, Language};
pub use server::Clock;
pub use simulator::Simulator;
pub use tasks::{Fate, Task, TaskStatus, Tasks};
pub use withdrawal::Withdrawal;
