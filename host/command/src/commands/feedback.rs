//! `feedback`.

use anyhow::Result;
use serde_json::json;

use crate::args::{Feedback, Global};
use crate::output::Output;
use crate::session::Session;

/// `feedback`
pub fn feedback(global: &Global, out: Output, args: &Feedback) -> Result<u8> {
    let session = Session::existing(global)?;
    let (label, source) = (args.label.into(), args.source.into());
    let namespace = global.namespace();
    session
        .cache
        .feedback(namespace, &args.ticket, label, source)?;
    let bound = session.cache.stats(Some(namespace))?.bound;
    session.cache.close()?;
    let bound = bound.as_ref().map(crate::json::Bound::from);
    out.result(
        || json!({"namespace": namespace, "label": label.name(), "bound": bound}),
        || {
            bound
                .as_ref()
                .map_or_else(String::new, crate::json::Bound::text)
        },
    )?;
    Ok(0)
}
