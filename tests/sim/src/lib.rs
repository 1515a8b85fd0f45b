//! # Everything at once, in no time
//!
//! Managers, hosts, jobs and views in one thread, with chance from a seed and a clock that only moves when something is due.
//! What decides is what decides in the programs: [`sessd_core::session`], [`sessd_core::host`], [`sessd_core::link`],
//! [`sessd_agent::machine`], [`sessd_client::typed`]. What stands for the rest is plain and keeps nothing: disks, a network, a relay in the place
//! of `serve`, the verbs' own steps. After every step the seven promises are asked ([`promises`]).
//!
//! * [`plan`]: what is done in a run, from a seed or a file · [`rng`]: chance
//! * [`world`]: the order in which things happen · [`net`]: connections
//! * [`manager`]: one life of a manager · [`host`]: a host · [`job`]: a holder and its program · [`view`]: a view
//! * [`promises`]: what must hold · [`shrink`]: a failing plan made short
//!
//! The README beside says how to run it, and how soon it finds what.
#![allow(missing_docs)] // names say it; whoever reads a failure reads the code

pub mod host;
pub mod job;
pub mod manager;
pub mod net;
pub mod plan;
pub mod promises;
pub mod rng;
pub mod shrink;
pub mod view;
pub mod world;

/// Where the world's wall clock begins, in milliseconds since the epoch.
pub const WALL_BEGAN_MS: u64 = 1_700_000_000_000;

use plan::Plan;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::{Summary, World};

/// Runs a plan; a panic of a machine is a failure like any other.
///
/// # Errors
/// What failed.
pub fn run(plan: &Plan) -> Result<Summary, String> {
    running(plan, false)
}

/// Runs a plan that fails, and tells what happened before.
pub fn told(plan: &Plan) -> Result<Summary, String> {
    running(plan, true)
}

fn running(plan: &Plan, is_traced: bool) -> Result<Summary, String> {
    catch_unwind(AssertUnwindSafe(|| World::run(plan, is_traced))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}
