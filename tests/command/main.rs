//! The `mneme` command, run as a process.

mod calibration;
mod checkpoints;
mod conformance;
mod contexts;
mod demo;
mod entries;
mod errors;
mod explain;
mod import;
mod migration;
mod models;
#[cfg(unix)]
mod run;
#[cfg(unix)]
mod serve;
mod upkeep;

use mneme_tests::command::{Done, Folder, VECTORS};
