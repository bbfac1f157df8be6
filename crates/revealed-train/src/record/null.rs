//! JSON has no NaN and no infinity: they are written as null and read as NaN.

use serde::{Deserialize, Deserializer};

pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

pub(super) fn numbers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    let values: Vec<Option<f64>> = Deserialize::deserialize(from)?;
    Ok(values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect())
}

/// Value of a figure that older files do not have.
pub(super) fn unknown() -> f64 {
    f64::NAN
}

#[cfg(test)]
mod tests {
    use crate::record::{ScoredSamples, ValidationScores};

    #[test]
    fn null_is_read_as_nan() {
        let text =
            r#"{"rewards": [1.0, null], "lengths": [1, 2], "terminated": [true, false], "kl": []}"#;
        let samples: ScoredSamples = serde_json::from_str(text).unwrap();
        assert!(samples.rewards[1].is_nan());
        let scores = r#"{"demonstrations": 0, "before": 0, "after": 1, "standard_error": null}"#;
        let scores: ValidationScores = serde_json::from_str(scores).unwrap();
        assert!(scores.gain().is_nan() && scores.accuracy_after.is_nan());
    }
}
