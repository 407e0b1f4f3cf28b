//! Plots a cumulative distribution: the share of the values up to each value.

use crate::stats::percentile;
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use std::path::Path;

const COLOURS: [RGBColor; 3] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(120, 120, 120)];
/// Smaller values are drawn here. The axis is logarithmic, and some values are negative because their clocks have whole
/// seconds.
const LEAST: f64 = 0.5;

/// Draws one line for each named list of milliseconds.
pub fn distribution(path: &Path, title: &str, lines: &[(&str, &[f64])]) -> Result<()> {
    draw(path, title, lines).map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn draw(path: &Path, title: &str, lines: &[(&str, &[f64])]) -> Result<(), Box<dyn std::error::Error>> {
    let most = lines.iter().flat_map(|(_, values)| *values).fold(10.0, |most: f64, value| most.max(*value));
    let root = SVGBackend::new(path, (760, 380)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(52)
        .build_cartesian_2d((LEAST..most * 1.3).log_scale(), 0.0..1.0)?;
    chart
        .configure_mesh()
        .x_desc("milliseconds")
        .y_desc("share of attempts")
        .y_label_formatter(&|share: &f64| format!("{:.0} %", share * 100.0))
        .light_line_style(BLACK.mix(0.06))
        .draw()?;
    for ((name, values), colour) in lines.iter().zip(COLOURS) {
        let steps = (0..=400).map(|step| f64::from(step) / 400.0);
        let points = steps.map(|share| (percentile(values, share).max(LEAST), share));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().position(SeriesLabelPosition::LowerRight).background_style(WHITE).draw()?;
    root.present()?;
    Ok(())
}
