//! `calibrate`.

use std::fmt::Write;

use anyhow::{Context, Result, bail};
use mneme::calibration::{self, Curve, Goal, Pair, Point, Scored};
use mneme::{BoundReport, ErrorBound};
use serde::Deserialize;
use serde_json::{Value, json};

use super::judge::judge_pairs;
use crate::args::{Calibrate, Global, MetricName};
use crate::json;
use crate::json_lines;
use crate::output::{self, Output};
use crate::picture;
use crate::target::Target;
use crate::thresholds_plot::{Line, Plot};

/// The most rows of the table.
const ROWS: usize = 21;

/// A line of labelled pairs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Labelled {
    a: String,
    b: String,
    same: bool,
}

/// A line of a file of pairs of one kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unlabelled {
    a: String,
    b: String,
}

/// `calibrate`
pub fn calibrate(global: &Global, out: Output, args: &Calibrate) -> Result<u8> {
    global.verifying.refuse("calibrate")?;
    picture::check_name("calibrate", args.plot.as_deref())?;
    let target = |path| Target::optional("calibrate", path, global);
    let (table, plot) = (target(args.csv.as_ref())?, target(args.plot.as_ref())?);
    let pairs = read(args)?;
    let (judged, embedder) = judge_pairs("calibrate", global, out, &pairs)?;
    let scored: Vec<Scored> = judged.iter().map(Scored::from).collect();
    let curve = Curve::of(&scored).context("calibrate")?;
    let bound = match global.bounding.bound()? {
        Some(bound) => {
            let report = calibration::assess(&scored, bound).context("calibrate")?;
            Some((bound, report))
        }
        None => None,
    };
    let goal = Goal {
        min_precision: args.min_precision,
        min_recall: args.min_recall,
        ..Goal::new(args.metric.into())
    };
    let best = *best(&curve, &goal)?;
    if let Some(table) = table {
        table.write(csv(&curve))?;
    }
    if let Some(plot) = plot {
        plot.write(draw(&curve, &best)?)?;
    }
    let found = Found {
        pairs: &pairs,
        curve: &curve,
        best: &best,
        metric: args.metric,
        embedder: &embedder,
        bound,
    };
    out.result(|| found.json(), || found.text())?;
    Ok(0)
}

fn read(args: &Calibrate) -> Result<Vec<Pair>> {
    if let Some(path) = &args.pairs {
        let shape = "{\"a\": ..., \"b\": ..., \"same\": true|false}";
        let pairs = json_lines::read::<Labelled>("calibrate", path, shape)?;
        return Ok(pairs
            .into_iter()
            .map(|(_, Labelled { a, b, same })| Pair { a, b, same })
            .collect());
    }
    let mut pairs = Vec::new();
    for (path, same) in [(&args.paraphrases, true), (&args.distractors, false)] {
        let Some(path) = path else { continue };
        let read = json_lines::read::<Unlabelled>("calibrate", path, "{\"a\": ..., \"b\": ...}")?;
        pairs.extend(
            read.into_iter()
                .map(|(_, Unlabelled { a, b })| Pair { a, b, same }),
        );
    }
    Ok(pairs)
}

/// The point that meets the goal; the error says how near others come.
fn best<'a>(curve: &'a Curve, goal: &Goal) -> Result<&'a Point> {
    if let Some(best) = curve.best(goal) {
        return Ok(best);
    }
    let most = curve
        .points()
        .iter()
        .filter(|point| point.recall() >= goal.min_recall)
        .max_by(|a, b| a.precision().total_cmp(&b.precision()));
    let most = most.map_or(String::new(), |point| {
        format!(
            "; the greatest precision with that recall is {:.3}, at {}",
            point.precision(),
            point.threshold
        )
    });
    bail!(
        "calibrate: no threshold has a precision of {} and a recall of {}{most}",
        goal.min_precision,
        goal.min_recall
    );
}

/// What is printed.
struct Found<'a> {
    pairs: &'a [Pair],
    curve: &'a Curve,
    best: &'a Point,
    metric: MetricName,
    embedder: &'a str,
    /// The error bound, and what the pairs open.
    bound: Option<(ErrorBound, BoundReport)>,
}

impl Found<'_> {
    fn same(&self) -> usize {
        self.pairs.iter().filter(|pair| pair.same).count()
    }

    fn json(&self) -> Value {
        let interval = |(low, high): (f64, f64)| json!([low, high]);
        let curve: Vec<Value> = self.curve.points().iter().map(point_json).collect();
        json!({
            "threshold": output::number(self.best.threshold),
            "precision": self.best.precision(),
            "recall": self.best.recall(),
            "f1": self.best.f1(),
            "precision_interval": interval(self.best.precision_interval()),
            "recall_interval": interval(self.best.recall_interval()),
            "f1_interval": interval(self.best.f1_interval()),
            "metric": match self.metric {
                MetricName::F1 => "f1",
                MetricName::Precision => "precision",
                MetricName::Recall => "recall",
            },
            "pairs": self.pairs.len(),
            "same": self.same(),
            "embedder": self.embedder,
            "bound": self.bound.as_ref().map(|(bound, report)| json!({
                "delta": bound.delta,
                "of": bound.of.name(),
                "explore": bound.explore,
                "opens": json::Bound::from(report),
            })),
            "curve": curve,
        })
    }

    fn text(&self) -> String {
        let mut table = output::table(&[
            "threshold",
            "precision",
            "recall",
            "f1",
            "right hits",
            "wrong hits",
            "lost hits",
            "of answers",
            "of requests",
        ]);
        let mut row = |threshold: String, point: &Point| {
            table.add_row([
                threshold,
                format!("{:.3}", point.precision()),
                format!("{:.3}", point.recall()),
                format!("{:.3}", point.f1()),
                point.true_hits.to_string(),
                point.wrong_hits.to_string(),
                point.lost_hits.to_string(),
                output::percent(point.wrong_of_answers()),
                output::percent(point.wrong_of_requests()),
            ]);
        };
        let mut is_best_due = true;
        for point in grid(self.curve) {
            if is_best_due && point.threshold >= self.best.threshold {
                row(format!("{} best", self.best.threshold), self.best);
                is_best_due = false;
            }
            if point.threshold != self.best.threshold {
                row(format!("{:.2}", point.threshold), &point);
            }
        }
        if is_best_due {
            row(format!("{} best", self.best.threshold), self.best);
        }
        let mut text = format!("{}\n\n", table.trim_fmt());
        let mut line = |name: &str, value: f64, (low, high): (f64, f64)| {
            let _ = writeln!(text, " {name:<10} {value:.3}  ({low:.3} to {high:.3})");
        };
        line(
            "precision",
            self.best.precision(),
            self.best.precision_interval(),
        );
        line("recall", self.best.recall(), self.best.recall_interval());
        line("f1", self.best.f1(), self.best.f1_interval());
        let _ = writeln!(text, " {:<10} {}", "threshold", self.best.threshold);
        let _ = writeln!(
            text,
            " {:<10} {}, {} with the same meaning; {}",
            "from",
            output::counted(self.pairs.len() as u64, "pair", "pairs"),
            self.same(),
            self.embedder.escape_debug(),
        );
        if let Some((bound, report)) = &self.bound {
            let _ = writeln!(
                text,
                " {:<10} {} of {} may be wrong, {} explore: {}",
                "bound",
                output::percent(bound.delta),
                bound.of.name(),
                output::percent(bound.explore),
                json::Bound::from(report).text()
            );
        }
        text
    }
}

fn point_json(point: &Point) -> Value {
    json!({
        "threshold": output::number(point.threshold),
        "precision": point.precision(),
        "recall": point.recall(),
        "f1": point.f1(),
        "true_hits": point.true_hits,
        "wrong_hits": point.wrong_hits,
        "lost_hits": point.lost_hits,
        "wrong_of_answers": point.wrong_of_answers(),
        "wrong_of_requests": point.wrong_of_requests(),
        "true_misses": point.true_misses,
    })
}

/// The points at round thresholds, in steps that make a short table.
fn grid(curve: &Curve) -> Vec<Point> {
    let last = curve.points().last().map_or(1.0, |point| point.threshold);
    let first = curve.points().first().map_or(0.0, |point| point.threshold);
    // Far below the similarities there is little to see.
    let first = first.max(last - 0.5);
    let hundredths = |value: f32| (f64::from(value) * 100.0).ceil() as i64;
    let (first, last) = (hundredths(first), hundredths(last));
    let steps = [1, 2, 5, 10, 20];
    let step = steps
        .into_iter()
        .find(|step| (last - first) / step < ROWS as i64);
    let step = step.unwrap_or(20);
    let round = first + (-first).rem_euclid(step);
    (0..)
        .map(|n| round + n * step)
        .take_while(|value| *value <= last)
        .filter_map(|value| curve.at(value as f32 / 100.0))
        .collect()
}

fn csv(curve: &Curve) -> String {
    let mut text =
        "threshold,precision,recall,f1,true_hits,wrong_hits,lost_hits,true_misses\n".to_owned();
    for point in curve.points() {
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{}",
            point.threshold,
            point.precision(),
            point.recall(),
            point.f1(),
            point.true_hits,
            point.wrong_hits,
            point.lost_hits,
            point.true_misses
        );
    }
    text
}

fn draw(curve: &Curve, best: &Point) -> Result<String> {
    let line = |name: &str, value: fn(&Point) -> f64| Line {
        name: name.to_owned(),
        points: curve
            .points()
            .iter()
            .map(|point| (f64::from(point.threshold), value(point)))
            .collect(),
    };
    Plot {
        title: "Precision and recall by threshold",
        lines: vec![
            line("precision", Point::precision),
            line("recall", Point::recall),
            line("f1", Point::f1),
        ],
        mark: Some(f64::from(best.threshold)),
    }
    .draw("calibrate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_short_and_round() {
        let curve = |similarities: &[f32]| {
            let scored: Vec<Scored> = similarities
                .iter()
                .enumerate()
                .map(|(n, &similarity)| Scored {
                    similarity: Some(similarity),
                    same: n % 2 == 0,
                })
                .collect();
            Curve::of(&scored).unwrap()
        };
        let thresholds = |similarities: &[f32]| -> Vec<f32> {
            let grid = grid(&curve(similarities));
            grid.iter().map(|point| point.threshold).collect()
        };
        assert_eq!(thresholds(&[0.905, 0.933]), [0.91, 0.92, 0.93]);
        let long = thresholds(&[-0.9, 0.1, 0.97]);
        assert!(
            long.len() <= ROWS && long[0] >= 0.47 && long.last() == Some(&0.95),
            "{long:?}"
        );
        assert_eq!(thresholds(&[-0.62, -0.6]), [-0.62, -0.61, -0.6]);
    }
}
