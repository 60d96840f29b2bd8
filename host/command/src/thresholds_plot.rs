//! A plot of shares by threshold.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::picture::{GRID, INK};

const SIZE: (u32, u32) = (860, 540);
const COLORS: [RGBColor; 4] = [
    RGBColor(200, 30, 40),
    RGBColor(31, 119, 180),
    RGBColor(60, 60, 60),
    RGBColor(23, 150, 140),
];

/// Lines over an axis of thresholds.
pub struct Plot {
    pub title: &'static str,
    pub lines: Vec<Line>,
    /// A threshold to mark.
    pub mark: Option<f64>,
}

/// A line: thresholds, ascending, and shares from 0 to 1.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

impl Plot {
    /// The picture, as SVG.
    pub fn draw(&self, command: &str) -> Result<String> {
        let mut picture = String::new();
        self.draw_into(&mut picture)
            .map_err(|error| anyhow!("{command}: --plot: {error}"))?;
        Ok(picture)
    }

    fn draw_into(&self, picture: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::with_string(picture, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let thresholds = || self.lines.iter().flat_map(|line| &line.points).map(|p| p.0);
        let most = thresholds().fold(f64::MIN, f64::max);
        // Far below the similarities there is little to see.
        let least = thresholds().fold(f64::MAX, f64::min).max(most - 0.6);
        let room = ((most - least) * 0.03).max(0.005);
        let x = least - room..most + room;
        let small = ("sans-serif", 13).into_font().color(&INK);
        let mut chart = ChartBuilder::on(&root)
            .caption(self.title, ("sans-serif", 18).into_font().color(&INK))
            .margin(14)
            .x_label_area_size(46)
            .y_label_area_size(54)
            .build_cartesian_2d(x.clone(), 0.0..1.03)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .label_style(small.clone())
            .x_desc("threshold")
            .x_label_formatter(&|value| format!("{value:.2}"))
            .y_label_formatter(&|value| format!("{:.0} %", value * 100.0))
            .draw()?;
        if let Some(mark) = self.mark {
            let line = vec![(mark, 0.0), (mark, 1.03)];
            chart
                .draw_series([PathElement::new(line, INK.mix(0.5).stroke_width(1))])?
                .label(format!("threshold {mark:.3}"))
                .legend(|(x, y)| {
                    let line = vec![(x, y), (x + 22, y)];
                    PathElement::new(line, INK.mix(0.5).stroke_width(1))
                });
        }
        for (line, color) in self.lines.iter().zip(COLORS.iter().cycle()) {
            let points = line.points.iter().copied().filter(|(at, _)| *at >= x.start);
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))?
                .label(&line.name)
                .legend(|(x, y)| {
                    PathElement::new(vec![(x, y), (x + 22, y)], color.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(GRID)
            .label_font(small)
            .draw()?;
        root.present()?;
        Ok(())
    }
}
