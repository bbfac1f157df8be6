//! What every compiled-in device computes, beside flex: losses and their gradients, models, adapters, sampling, a whole round.
//!
//! A device that does not work on this machine is skipped with a word, unless `REVEALED_DEVICES` (names with commas between) asks
//! for it. `docs/backends.md` has the tolerances with their reasons.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use revealed::Device;
use revealed::burn::tensor::Tensor;

mod models;
mod objectives;
mod round;

/// A device with how far it may be from flex, relative to the larger of 1 and the number itself.
#[derive(Clone)]
pub(crate) struct Other {
    pub(crate) name: &'static str,
    pub(crate) device: Device,
    pub(crate) tolerance: f32,
}

/// Names with the feature that brings them. LibTorch on a CPU sums in another order, and rounds exp and log otherwise: a few roundings
/// of f32. Shaders may round exp, log and division to 2.5 ulp and more, and fuse what they like.
const DEVICES: [(&str, bool, f32); 8] = [
    ("flex", cfg!(feature = "flex"), 0.0),
    ("libtorch", cfg!(feature = "tch"), 2e-5),
    ("libtorch-cuda:0", cfg!(feature = "tch"), 1e-4),
    ("wgpu", cfg!(feature = "wgpu"), 1e-4),
    ("vulkan", cfg!(feature = "vulkan"), 1e-4),
    ("metal", cfg!(feature = "metal"), 1e-4),
    ("cuda:0", cfg!(feature = "cuda"), 1e-4),
    ("cpu", cfg!(feature = "cpu"), 1e-4),
];

pub(crate) fn flex() -> Device {
    Device::flex()
}

/// Every device that is compiled in and works here.
pub(crate) fn devices() -> Vec<Other> {
    let required = std::env::var("REVEALED_DEVICES").unwrap_or_default();
    let required: Vec<&str> = required.split(',').filter(|name| !name.is_empty()).collect();
    for name in &required {
        let compiled = DEVICES.iter().any(|(known, compiled, _)| known == name && *compiled);
        assert!(compiled, "REVEALED_DEVICES: {name} is not compiled in");
    }
    let mut found = Vec::new();
    for (name, _, tolerance) in DEVICES.into_iter().filter(|(_, compiled, _)| *compiled) {
        match revealed::device(name) {
            Ok(device) => found.push(Other { name, device, tolerance }),
            Err(error) if required.contains(&name) => panic!("{error}"),
            Err(error) => println!("skipped: {error}"),
        }
    }
    found
}

pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// Compares numbers with those of flex.
pub(crate) fn close(found: &[f32], wanted: &[f32], other: &Other, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{}: {what}", other.name);
    for (index, (a, b)) in found.iter().zip(wanted).enumerate() {
        let apart = (a - b).abs() / b.abs().max(1.0);
        assert!(
            apart <= other.tolerance,
            "{}: {what} [{index}] is {a}, on flex {b}: {apart:e} apart",
            other.name
        );
    }
}

pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/models")).join(name)
}

#[test]
fn every_device_that_is_asked_for_is_here() {
    let names: Vec<&str> = devices().iter().map(|other| other.name).collect();
    println!("devices: {}", names.join(", "));
    assert!(names.contains(&"flex"));
    // Number 0 is there wherever anything is, whatever the driver calls it.
    for kind in ["wgpu", "vulkan", "metal"].iter().filter(|kind| names.contains(kind)) {
        assert!(revealed::device(&format!("{kind}:0")).is_ok(), "{kind}");
        assert!(revealed::device(&format!("{kind}:99")).is_err(), "{kind}");
    }
}
