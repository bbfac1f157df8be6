//! Metrics as a table: `round, phase, step`, then a column a metric.

use super::metrics::MetricLine;

/// RFC 4180: a line for each of `metrics.jsonl`, columns in the order of their first appearance, empty where a line has no such
/// number.
pub fn metrics_csv(lines: &[MetricLine]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in lines.iter().flat_map(|line| &line.values) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let heads = ["round", "phase", "step"].into_iter().chain(names.iter().copied());
    let mut text = row(heads.map(quoted));
    for line in lines {
        let place = [line.round.to_string(), line.phase.to_string(), line.step.to_string()];
        let values = names.iter().map(|name| {
            let value = line.values.iter().find(|(other, _)| other == name);
            value
                .filter(|(_, value)| value.is_finite())
                .map_or(String::new(), |(_, v)| v.to_string())
        });
        text.push_str(&row(place.into_iter().chain(values)));
    }
    text
}

fn row(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(",") + "\n"
}

fn quoted(name: &str) -> String {
    match name.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use revealed_train::Phase;

    #[test]
    fn columns_are_the_union_and_cells_may_be_empty() {
        let line = |phase, values: &[(&str, f64)]| MetricLine {
            round: 0,
            phase,
            step: 1,
            place: 1,
            values: values.iter().map(|(name, value)| ((*name).into(), *value)).collect(),
        };
        let csv = metrics_csv(&[
            line(Phase::Sft, &[("loss", 0.5), ("a,\"b", f64::NAN)]),
            line(Phase::FitValidationReward, &[("grad_norm", 1e-7)]),
        ]);
        let expected = "round,phase,step,loss,\"a,\"\"b\",grad_norm\n0,sft,1,0.5,,\n0,fit-validation-reward,1,,,0.0000001\n";
        assert_eq!(csv, expected);
    }
}
