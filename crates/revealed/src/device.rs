//! Devices by name: the one place that knows which backends are compiled in.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{Device, Tensor};
use thiserror::Error;

/// Every name, for messages.
const NAMES: &str =
    "flex, libtorch, libtorch-cuda:N, cuda:N, cpu, wgpu, wgpu:N, vulkan, vulkan:N, metal, metal:N";

/// Why a device cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No backend has this name.
    #[error("device `{name}` is not known; known are {NAMES} (N counts from 0)")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The name is known, but not what follows its colon.
    #[error("device `{name}`: `{index}` is not a device's number; write it as `{kind}:0`")]
    Index {
        /// What was asked for.
        name: String,
        /// The part before the colon.
        kind: String,
        /// The part behind it.
        index: String,
    },
    /// The backend is not part of this build.
    #[error("device `{name}` needs the feature `{feature}`; rebuild with `--features {feature}`")]
    NotCompiledIn {
        /// What was asked for.
        name: String,
        /// The Cargo feature that brings it.
        feature: &'static str,
    },
    /// The backend is here, but the machine has no such device.
    #[error(
        "device `{name}` does not work on this machine; check its driver and number, or use another device"
    )]
    Unusable {
        /// What was asked for.
        name: String,
    },
}

/// The device of a name: `flex`, `libtorch`, `libtorch-cuda:N`, `cuda:N`, `cpu`, `wgpu`, `wgpu:N`, `vulkan:N` or
/// `metal:N`. Without a number it is the backend's own choice. With wgpu, N counts discrete GPUs; where there is none of that
/// number it counts integrated ones, then virtual ones, and 0 is a software driver where there is nothing else.
///
/// # Errors
/// When the name is unknown, its backend is not compiled in, or the machine has no such device.
pub fn device(name: &str) -> Result<Device, DeviceError> {
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => (kind, Some(index)),
        None => (name, None),
    };
    let unknown = || DeviceError::Unknown { name: name.into() };
    let feature = feature(kind).ok_or_else(unknown)?;
    let number = match index {
        None => None,
        Some(_) if matches!(kind, "flex" | "libtorch" | "cpu") => return Err(unknown()),
        Some(index) => Some(index.parse().map_err(|_| DeviceError::Index {
            name: name.into(),
            kind: kind.into(),
            index: index.into(),
        })?),
    };
    let candidates = candidates(kind, number);
    if candidates.is_empty() {
        return Err(DeviceError::NotCompiledIn { name: name.into(), feature });
    }
    let found = candidates.into_iter().find(works);
    found.ok_or_else(|| DeviceError::Unusable { name: name.into() })
}

/// A backend without its driver or adapter says so by a panic at first use.
fn works(device: &Device) -> bool {
    let zero = || Tensor::<1>::zeros([1], device).try_into_vec_as::<f32>().is_ok();
    catch_unwind(AssertUnwindSafe(zero)).unwrap_or(false)
}

/// The Cargo feature behind a device's name.
fn feature(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "flex" => "flex",
        "libtorch" | "libtorch-cuda" => "tch",
        "cuda" => "cuda",
        "cpu" => "cpu",
        "wgpu" => "wgpu",
        "vulkan" => "vulkan",
        "metal" => "metal",
        _ => return None,
    })
}

/// What a name may stand for, the likeliest first; nothing where its backend is not compiled in.
#[allow(unused_variables)]
fn candidates(kind: &str, number: Option<usize>) -> Vec<Device> {
    match kind {
        #[cfg(feature = "flex")]
        "flex" => vec![Device::flex()],
        #[cfg(feature = "tch")]
        #[allow(deprecated)] // upstream drops it in 0.23; this workspace pins 0.22.1
        "libtorch" => vec![Device::libtorch()],
        #[cfg(feature = "tch")]
        #[allow(deprecated)]
        "libtorch-cuda" => vec![Device::libtorch_cuda(number.unwrap_or(0))],
        #[cfg(feature = "cuda")]
        "cuda" => vec![Device::cuda(number.unwrap_or(0))],
        #[cfg(feature = "cpu")]
        "cpu" => vec![Device::cpu()],
        #[cfg(feature = "wgpu")]
        "wgpu" => adapters(number).into_iter().map(Device::wgpu).collect(),
        #[cfg(feature = "vulkan")]
        "vulkan" => adapters(number).into_iter().map(Device::vulkan).collect(),
        #[cfg(feature = "metal")]
        "metal" => adapters(number).into_iter().map(Device::metal).collect(),
        _ => vec![],
    }
}

/// Kinds in the order in which a number is looked for: what a driver calls its GPU is not for the user to know.
#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal"))]
fn adapters(number: Option<usize>) -> Vec<burn::tensor::DeviceKind> {
    use burn::tensor::DeviceKind::{Cpu, DefaultDevice, DiscreteGpu, IntegratedGpu, VirtualGpu};
    match number {
        None => vec![DefaultDevice],
        Some(0) => vec![DiscreteGpu(0), IntegratedGpu(0), VirtualGpu(0), Cpu],
        Some(number) => vec![DiscreteGpu(number), IntegratedGpu(number), VirtualGpu(number)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "flex")]
    fn flex_is_a_device_without_a_number() {
        assert_eq!(device("flex"), Ok(Device::flex()));
        assert!(matches!(device("flex:0"), Err(DeviceError::Unknown { .. })));
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_backend_that_is_not_compiled_in_is_named_with_its_feature() {
        let message = device("cuda:0").unwrap_err().to_string();
        assert_eq!(
            message,
            "device `cuda:0` needs the feature `cuda`; rebuild with `--features cuda`"
        );
    }

    #[test]
    #[cfg(not(feature = "tch"))]
    fn libtorch_needs_the_feature_tch() {
        for name in ["libtorch", "libtorch-cuda:1"] {
            let error = device(name).unwrap_err();
            assert_eq!(error, DeviceError::NotCompiledIn { name: name.into(), feature: "tch" });
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = device("gpu").unwrap_err().to_string();
        assert!(message.contains("libtorch-cuda:N") && message.contains("vulkan"), "{message}");
    }

    #[test]
    fn a_number_that_is_none_is_refused() {
        let message = device("wgpu:first").unwrap_err().to_string();
        assert!(message.contains("`first`") && message.contains("`wgpu:0`"), "{message}");
    }
}
