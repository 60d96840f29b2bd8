//! Latency against entries, drawn.

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::{KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::tally::{Cell, Side, Work};

const SIZE: (u32, u32) = (1180, 860);
/// Lines behind the drawing.
const GRID: RGBColor = RGBColor(225, 225, 225);
/// Text and axes.
const INK: RGBColor = RGBColor(50, 50, 50);
const LEGEND: u32 = 240;
const PANELS: [(Work, &str); 4] = [
    (Work::SemanticHit, "semantic hit, median"),
    (Work::SemanticMiss, "semantic miss, median"),
    (Work::ExactHit, "exact hit, median"),
    (Work::Open, "open to the first semantic answer, median"),
];
const OURS: [RGBColor; 3] = [
    RGBColor(200, 30, 40),
    RGBColor(236, 112, 20),
    RGBColor(150, 20, 110),
];
const PEERS: [RGBColor; 5] = [
    RGBColor(31, 119, 180),
    RGBColor(23, 150, 140),
    RGBColor(110, 110, 110),
    RGBColor(60, 60, 160),
    RGBColor(140, 100, 60),
];

/// A contender's points: entries and microseconds.
struct Line {
    name: String,
    color: RGBColor,
    width: u32,
    panels: [Vec<(f64, f64)>; 4],
}

/// The picture, as SVG.
pub fn draw(cells: &[Cell]) -> Result<String> {
    let mut picture = String::new();
    let failed = |error: &dyn std::fmt::Display| anyhow!("bench: --plot: {error}");
    let lines = lines(cells);
    {
        let root = SVGBackend::with_string(&mut picture, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(&error))?;
        let (body, legend) = root.split_horizontally(SIZE.0 - LEGEND);
        for (n, area) in body.split_evenly((2, 2)).iter().enumerate() {
            panel(area, n, &lines).map_err(|error| failed(&error))?;
        }
        key(&legend, &lines).map_err(|error| failed(&error))?;
        root.present().map_err(|error| failed(&error))?;
    }
    Ok(picture)
}

/// One line for each contender, with its dims and dtype where these differ.
fn lines(cells: &[Cell]) -> Vec<Line> {
    let many_dims = cells.iter().any(|cell| cell.dim != cells[0].dim);
    let many_dtypes = cells.iter().any(|cell| cell.dtype != cells[0].dtype);
    let mut lines: Vec<Line> = Vec::new();
    for cell in cells.iter().filter(|cell| cell.namespaces.is_none()) {
        let ours = cell
            .ours
            .iter()
            .map(|side| (format!("mneme ({})", side.name), side, true));
        let peers = cell
            .peers
            .iter()
            .map(|side| (side.name.clone(), side, false));
        for (mut name, side, is_ours) in ours.chain(peers) {
            if many_dims {
                name += &format!(", {}", cell.dim);
            }
            if many_dtypes {
                name += &format!(", {}", cell.dtype);
            }
            add(&mut lines, &name, cell.entries, side, Work::Open, is_ours);
            if is_ours && side.work.contains_key(&Work::OpenPersisted) {
                let name = format!("{name}, index persisted");
                add(
                    &mut lines,
                    &name,
                    cell.entries,
                    side,
                    Work::OpenPersisted,
                    true,
                );
            }
        }
    }
    lines.sort_by_key(|line| line.width != 3);
    lines
}

/// Adds a contender's points; a line of the persisted index has only that panel.
fn add(lines: &mut Vec<Line>, name: &str, entries: usize, side: &Side, open: Work, ours: bool) {
    let at = lines
        .iter()
        .position(|line| line.name == name)
        .unwrap_or_else(|| {
            let width = if ours { 3 } else { 2 };
            let before = lines.iter().filter(|line| line.width == width).count();
            lines.push(Line {
                name: name.to_owned(),
                color: if ours {
                    OURS[before % OURS.len()]
                } else {
                    PEERS[before % PEERS.len()]
                },
                width,
                panels: Default::default(),
            });
            lines.len() - 1
        });
    for (points, (work, _)) in lines[at].panels.iter_mut().zip(PANELS) {
        let work = match (work, open) {
            (Work::Open, open) => open,
            (_, Work::OpenPersisted) => continue,
            (work, _) => work,
        };
        if let Some(micros) = side.work.get(&work).and_then(|tally| tally.quantile(0.5)) {
            points.push((entries as f64, micros));
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// The logarithms of the least and the greatest value, and some room.
fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    let (low, high) = (least.log10(), most.log10());
    // A single size is not at the edge.
    let room = if high - low < 0.3 { 0.3 } else { 0.08 };
    (least <= most).then_some((low - room, high + room))
}

fn panel(area: &Area<'_>, n: usize, lines: &[Line]) -> Drawn {
    let points = || lines.iter().flat_map(|line| &line.panels[n]);
    let title = ("sans-serif", 18).into_font().color(&INK);
    let small = ("sans-serif", 13).into_font().color(&INK);
    let middle = Pos::new(HPos::Center, VPos::Center);
    let (width, height) = area.dim_in_pixel();
    area.draw_text(PANELS[n].1, &title.pos(middle), (width as i32 / 2 + 25, 20))?;
    let (Some(x), Some(y)) = (
        bounds(points().map(|point| point.0)),
        bounds(points().map(|point| point.1)),
    ) else {
        area.draw_text(
            "not measured",
            &small.pos(middle),
            (width as i32 / 2, height as i32 / 2),
        )?;
        return Ok(());
    };
    let mut chart = ChartBuilder::on(area)
        .margin_top(38)
        .margin_right(24)
        .margin_bottom(8)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(Logarithms(x), Logarithms(y))?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(small)
        .x_desc("entries")
        .x_label_formatter(&|log| count(*log))
        .y_label_formatter(&|log| time(*log))
        .draw()?;
    // Ours last, above the others.
    for line in lines.iter().rev() {
        let points = line.panels[n].iter().map(|(x, y)| (x.log10(), y.log10()));
        let stroke = line.color.stroke_width(line.width);
        chart.draw_series(LineSeries::new(points.clone(), stroke))?;
        chart.draw_series(points.map(|at| Circle::new(at, line.width + 1, line.color.filled())))?;
    }
    Ok(())
}

fn key(area: &Area<'_>, lines: &[Line]) -> Drawn {
    let text = ("sans-serif", 14).into_font().color(&INK);
    for (n, line) in lines.iter().enumerate() {
        let y = 50 + 24 * n as i32;
        area.draw(&PathElement::new(
            vec![(0, y), (26, y)],
            line.color.stroke_width(line.width),
        ))?;
        area.draw(&Circle::new((13, y), line.width + 1, line.color.filled()))?;
        area.draw_text(
            &line.name,
            &text.pos(Pos::new(HPos::Left, VPos::Center)),
            (34, y),
        )?;
    }
    Ok(())
}

/// An axis of logarithms, marked at 1, 2 and 5 times the powers of ten.
struct Logarithms((f64, f64));

impl Ranged for Logarithms {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.0.0) / (self.0.1 - self.0.0);
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        let (low, high) = self.0;
        // Beyond two decades 2 and 5 would be too dense.
        let steps: &[f64] = if high - low > 2.2 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let decades = low.floor() as i32..=high.ceil() as i32;
        decades
            .flat_map(|decade| {
                steps
                    .iter()
                    .map(move |step| f64::from(decade) + step.log10())
            })
            .filter(|log| (low..=high).contains(log))
            .collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.0.0..self.0.1
    }
}

impl plotters::coord::ranged1d::ValueFormatter<f64> for Logarithms {
    fn format(value: &f64) -> String {
        value.to_string()
    }
}

fn count(log: f64) -> String {
    scaled(10_f64.powf(log), &["", "k", "M"])
}

fn time(log: f64) -> String {
    scaled(10_f64.powf(log), &[" \u{b5}s", " ms", " s"])
}

/// A number in the unit that suits it; each unit is 1,000 times the one before.
fn scaled(value: f64, units: &[&str; 3]) -> String {
    let unit = match value {
        v if v < 999.5 => 0,
        v if v < 999_500.0 => 1,
        _ => 2,
    };
    let value = value / 1000_f64.powi(unit);
    let digits = if value < 0.95 { 2 } else { 0 };
    format!("{value:.digits$}{}", units[unit as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks() {
        assert_eq!(count(2.0), "100");
        assert_eq!(count(200_000_f64.log10()), "200k");
        assert_eq!(time(500_f64.log10()), "500 \u{b5}s");
        assert_eq!(time(3.0), "1 ms");
        assert_eq!(time(6.0), "1 s");
        let axis = Logarithms((1.95, 4.05));
        assert_eq!(axis.key_points(7).len(), 7);
    }
}
