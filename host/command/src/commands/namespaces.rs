//! `clear`, `namespaces` and `quota`.

use anyhow::Result;
use serde_json::json;

use crate::args::{Global, Quota};
use crate::output::{self, Output};
use crate::session::Session;

/// `clear`
pub fn clear(global: &Global, out: Output, all: bool) -> Result<u8> {
    if all {
        global.refuse_namespace("--all")?;
    }
    let session = Session::existing(global)?;
    let deleted = if all {
        session.cache.clear()?
    } else {
        session.cache.clear_namespace(global.namespace())?
    };
    session.cache.close()?;
    out.result(
        || json!({"deleted": deleted}),
        || format!("{} deleted", output::counted(deleted, "entry", "entries")),
    )?;
    Ok(0)
}

/// `namespaces`
pub fn list(global: &Global, out: Output) -> Result<u8> {
    let session = Session::existing(global)?;
    let names = session.cache.list_namespaces()?;
    session.cache.close()?;
    out.result(|| json!({"namespaces": names}), || names.join("\n"))?;
    Ok(0)
}

/// `quota`
pub fn quota(global: &Global, out: Output, new: Option<Quota>) -> Result<u8> {
    let namespace = global.namespace();
    let session = match new {
        Some(_) => Session::open(global)?,
        None => Session::existing(global)?,
    };
    if let Some(Quota(quota)) = new {
        session.cache.set_namespace_quota(namespace, quota)?;
    }
    let quota = session.cache.namespace_quota(namespace)?;
    session.cache.close()?;
    out.result(
        || json!({"namespace": namespace, "quota": quota}),
        || quota.map_or_else(|| "none".into(), |quota| quota.to_string()),
    )?;
    Ok(0)
}
