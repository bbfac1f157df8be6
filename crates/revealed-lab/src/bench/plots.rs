//! The page's plots.

use std::path::Path;

use plotters::prelude::*;
use revealed_eval::stats::{mean_ci95, mean_sd};

use super::outcome::Round;
use super::outcome::{Level, Outcome};
use super::{arms, rows};
use crate::LabError;

/// Dark enough on white, and apart for most kinds of colour blindness (Okabe and Ito, and three more).
const COLOURS: [RGBColor; 10] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(60, 60, 60),
    RGBColor(110, 60, 160),
    RGBColor(150, 80, 30),
    RGBColor(150, 150, 150),
];

/// A method's name, its mean with interval at T = 1, and its mean at its best temperature.
type Bar = (String, f64, (f64, f64), f64);

/// The first round; of `sft`, the SFT model and not the base.
fn first(outcome: &Outcome) -> Option<&Round> {
    outcome.rounds.iter().find(|round| round.round == 1)
}

/// Gold of every method after one round, with intervals over seeds.
pub fn methods(outcomes: &[Outcome], level: Level, path: &Path) -> Result<(), LabError> {
    let mut bars: Vec<Bar> = Vec::new();
    for arm in arms::all().iter().filter(|arm| !arm.is_ablation()) {
        let gold: Vec<f64> = rows::of(outcomes, level, &arm.name)
            .iter()
            .filter_map(|outcome| Some(first(outcome)?.gold.t1))
            .collect();
        let best: Vec<f64> = rows::of(outcomes, level, &arm.name)
            .iter()
            .filter_map(|outcome| Some(first(outcome)?.gold.best))
            .collect();
        if !gold.is_empty() {
            let name = arm.name.to_owned();
            bars.push((name, mean_sd(&gold).0, mean_ci95(&gold), mean_sd(&best).0));
        }
    }
    let title = format!(
        "Gold reward after one round, {} setting (dot: T = 1 with 95 %; ring: best temperature)",
        level.name()
    );
    draw(path, (760, 60 + 30 * bars.len().max(4) as u32), |root| dots(root, &title, &bars))
}

fn dots(root: &Area<'_>, title: &str, bars: &[Bar]) -> Result<(), LabError> {
    let low = bars.iter().map(|(_, mean, (low, _), _)| low.min(*mean)).fold(0.8, f64::min);
    let mut chart = ChartBuilder::on(root)
        .caption(title, ("sans-serif", 15))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(110)
        .build_cartesian_2d((low - 0.02).max(0.0)..1.0, -0.5..bars.len().max(1) as f64 - 0.5)
        .map_err(drawing)?;
    let count = bars.len();
    // The first method stands on top.
    let name = |y: &f64| {
        let row = count as f64 - 1.0 - y;
        let near = (row - row.round()).abs() < 0.01 && row >= -0.01;
        if near {
            bars.get(row.round() as usize).map_or("".into(), |bar| bar.0.clone())
        } else {
            "".into()
        }
    };
    chart
        .configure_mesh()
        .y_labels(2 * count + 1)
        .y_label_formatter(&name)
        .disable_y_mesh()
        .max_light_lines(0)
        .bold_line_style(RGBColor(225, 225, 225))
        .label_style(("sans-serif", 14))
        .draw()
        .map_err(drawing)?;
    for (index, (name, mean, (low, high), best)) in bars.iter().enumerate() {
        let y = (count - 1 - index) as f64;
        let colour = COLOURS[if name.starts_with("irl") { 1 } else { 0 }];
        let interval = if low.is_finite() { [*low, high.min(1.0)] } else { [*mean, *mean] };
        let line = PathElement::new(interval.map(|x| (x, y)).to_vec(), colour.stroke_width(2));
        chart.plotting_area().draw(&line).map_err(drawing)?;
        let dot = Circle::new((*mean, y), 4, colour.filled());
        chart.plotting_area().draw(&dot).map_err(drawing)?;
        let ring = Circle::new((*best, y), 5, colour.stroke_width(2));
        chart.plotting_area().draw(&ring).map_err(drawing)?;
    }
    Ok(())
}

/// Mean gold at T = 1 by round, for methods that have rounds.
pub fn rounds(outcomes: &[Outcome], level: Level, path: &Path) -> Result<(), LabError> {
    let sft: Vec<f64> = rows::of(outcomes, level, "sft")
        .iter()
        .filter_map(|outcome| Some(outcome.rounds.last()?.gold.t1))
        .collect();
    let mut curves: Vec<(String, Vec<f64>)> = Vec::new();
    for arm in arms::all().iter().filter(|arm| !arm.is_ablation()) {
        let all = rows::of(outcomes, level, &arm.name);
        let most = all.iter().map(|outcome| outcome.rounds.len()).max().unwrap_or(0);
        if most < 2 || arm.name == "sft" {
            continue;
        }
        let mut means = vec![mean_sd(&sft).0];
        for index in 0..most {
            let gold: Vec<f64> =
                all.iter().filter_map(|o| Some(o.rounds.get(index)?.gold.t1)).collect();
            means.push(mean_sd(&gold).0);
        }
        curves.push((arm.name.to_owned(), means));
    }
    let title = format!("Gold reward at T = 1 by round, {} setting (0 is SFT)", level.name());
    draw(path, (760, 420), |root| lines(root, &title, &curves))
}

fn lines(root: &Area<'_>, title: &str, curves: &[(String, Vec<f64>)]) -> Result<(), LabError> {
    let all =
        || curves.iter().flat_map(|(_, means)| means.iter().copied()).filter(|m| m.is_finite());
    let (low, high) = (all().fold(0.9, f64::min) - 0.02, all().fold(0.9, f64::max) + 0.02);
    let longest = curves.iter().map(|(_, means)| means.len()).max().unwrap_or(2);
    let mut chart = ChartBuilder::on(root)
        .caption(title, ("sans-serif", 15))
        .margin(10)
        .margin_right(20)
        .x_label_area_size(30)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..longest as f64 - 1.0, low..high.min(1.0))
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .x_labels(longest)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .max_light_lines(0)
        .bold_line_style(RGBColor(225, 225, 225))
        .label_style(("sans-serif", 14))
        .x_desc("round")
        .draw()
        .map_err(drawing)?;
    for (index, (name, means)) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points = means.iter().enumerate().map(|(x, y)| (x as f64, *y));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))
            .map_err(drawing)?
            .label(name.clone())
            .legend(move |(x, y)| {
                PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2))
            });
    }
    if !curves.is_empty() {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .label_font(("sans-serif", 14))
            .draw()
            .map_err(drawing)?;
    }
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(
    path: &Path,
    size: (u32, u32),
    work: impl FnOnce(&Area<'_>) -> Result<(), LabError>,
) -> Result<(), LabError> {
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE).map_err(drawing)?;
    work(&root)?;
    root.present().map_err(drawing)
}

fn drawing(error: impl std::fmt::Display) -> LabError {
    LabError::Plot { reason: error.to_string() }
}
