//! `component`.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::json;

use crate::output::{self, Output};

/// `component`: writes a WebAssembly component, the cache or the conformance battery.
pub fn write(out: Output, path: &Path, conformance: bool) -> Result<u8> {
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
    output::write_file("component", path, component)?;
    let size = component.len() as u64;
    out.result(
        || json!({"path": path.to_string_lossy(), "bytes": size}),
        || format!("{}: {}", path.display(), output::bytes(size)),
    )?;
    Ok(0)
}
