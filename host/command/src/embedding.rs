//! `--embedding JSON|@FILE`.

use std::fs::File;
use std::io::{self, Read};

use anyhow::{Context, Result, bail};

/// The longest vector in JSON: 8,192 values of 32 characters.
const MAX_TEXT: u64 = 256 * 1024;

/// Why an entry cannot be both.
pub const ONE_OF_BOTH: &str = "exact_only is true, and an embedding is given; omit one of them";

/// Reads a vector from a JSON array, or from the file after an `@`. The cache checks its
/// length and values.
pub fn parse(text: &str) -> Result<Vec<f32>> {
    let Some(file) = text.strip_prefix('@') else {
        return vector(text).context("--embedding");
    };
    let mut text = String::new();
    let read = if file == "-" {
        io::stdin()
            .lock()
            .take(MAX_TEXT + 1)
            .read_to_string(&mut text)
    } else {
        File::open(file).and_then(|file| file.take(MAX_TEXT + 1).read_to_string(&mut text))
    };
    read.with_context(|| format!("--embedding: cannot read {file:?}"))?;
    if text.len() as u64 > MAX_TEXT {
        bail!("--embedding: {file:?} is longer than {MAX_TEXT} bytes, too long for a vector");
    }
    vector(&text).with_context(|| format!("--embedding {file:?}"))
}

fn vector(text: &str) -> Result<Vec<f32>> {
    serde_json::from_str(text.trim()).map_err(|error| {
        anyhow::anyhow!("not a JSON array of numbers ({error}); write [0.1, -0.2, ...] or @FILE")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors() {
        assert_eq!(parse(" [1, -0.5, 2e-3] ").unwrap(), [1.0, -0.5, 0.002]);
        for bad in [
            "", "[", "[\"1\"]", "[1e999]", "[null]", "{}", "0.5", "[NaN]",
        ] {
            let message = format!("{:#}", parse(bad).unwrap_err());
            assert!(
                message.contains("not a JSON array of numbers"),
                "{bad}: {message}"
            );
        }
        let message = format!("{:#}", parse("@/no/such/file").unwrap_err());
        assert!(
            message.contains("cannot read \"/no/such/file\""),
            "{message}"
        );
    }
}
