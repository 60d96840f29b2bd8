//! The commands.

mod calibrate;
mod checkpoint;
mod component;
mod conformance;
mod demo;
mod embed;
mod entries;
pub mod explain;
mod feedback;
mod import;
mod judge;
mod listing;
mod migrate;
mod namespaces;
mod replay;
mod run;
mod serve;
mod upkeep;

use anyhow::Result;

use crate::args::{Args, Command};
use crate::output::Output;

/// Runs the command and returns the exit code.
pub fn dispatch(args: &Args, out: Output) -> Result<u8> {
    let global = &args.global;
    match &args.command {
        Command::Get(get) => entries::get(global, out, get),
        Command::Put(put) => entries::put(global, out, put),
        Command::Embed(args) => embed::embed(global, out, args),
        Command::Explain(explain) => explain::explain(global, out, explain),
        Command::Feedback(args) => feedback::feedback(global, out, args),
        Command::Delete { query, context } => entries::delete(global, out, query, context),
        Command::Entries(args) => listing::entries(global, out, args),
        Command::Erase(args) => listing::erase(global, out, args),
        Command::Clear { all } => namespaces::clear(global, out, *all),
        Command::Namespaces => namespaces::list(global, out),
        Command::Quota { quota } => namespaces::quota(global, out, *quota),
        Command::Vacuum { compact } => upkeep::vacuum(global, out, *compact),
        Command::WarmUp => upkeep::warm_up(global, out),
        Command::Stats => upkeep::stats(global, out),
        Command::Health { deep } => upkeep::health(global, out, *deep),
        Command::Run(run) => run::run(global, out, run),
        Command::Import(import) => import::import(global, out, import),
        Command::Dump(dump) => checkpoint::dump(global, out, dump),
        Command::Load(load) => checkpoint::load(global, out, load),
        Command::Inspect(inspect) => checkpoint::inspect(out, inspect),
        Command::Copy(args) => migrate::copy(global, out, args),
        Command::Reembed(args) => migrate::reembed(global, out, args),
        Command::Calibrate(args) => calibrate::calibrate(global, out, args),
        Command::Judge(args) => judge::judge(global, out, args),
        Command::Replay(args) => replay::replay(global, out, args),
        Command::Serve(args) => serve::serve(global, out, args),
        Command::Component {
            output,
            conformance,
        } => component::write(global, out, output, *conformance),
        Command::Conformance(args) => conformance::conformance(global, out, args),
        Command::Demo => demo::demo(global, out),
    }
}
