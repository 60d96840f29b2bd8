//! `component`.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::json;

use crate::args::Global;
use crate::output::{self, Output};
use crate::target::Target;

/// `component`: writes a WebAssembly component, the cache or the conformance battery.
pub fn write(global: &Global, out: Output, path: &Path, conformance: bool) -> Result<u8> {
    let component = match conformance {
        true => mneme::conformance::component(),
        false => mneme::component(),
    };
    if path == Path::new("-") {
        let mut stdout = io::stdout().lock();
        if stdout.is_terminal() {
            bail!("component: a component is binary; name a file, or pipe it on");
        }
        stdout.write_all(component)?;
        stdout.flush()?;
        return Ok(0);
    }
    Target::new("component", path, global)?.write(component)?;
    let size = component.len() as u64;
    out.result(
        || json!({"path": path.to_string_lossy(), "bytes": size}),
        || format!("{}: {}", path.display(), output::bytes(size)),
    )?;
    Ok(0)
}
