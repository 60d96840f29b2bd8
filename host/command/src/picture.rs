//! Colours and names of pictures.

use std::path::Path;

use anyhow::{Result, bail};
use plotters::style::RGBColor;

/// Lines behind the drawing.
pub const GRID: RGBColor = RGBColor(225, 225, 225);
/// Text and axes.
pub const INK: RGBColor = RGBColor(50, 50, 50);

/// Refuses the name of a picture that does not end in `.svg`, before any work.
pub fn check_name(command: &str, path: Option<&Path>) -> Result<()> {
    if let Some(path) = path
        && path.extension().is_none_or(|extension| extension != "svg")
    {
        bail!("{command}: --plot {path:?}: the name must end in .svg");
    }
    Ok(())
}
