//! Hashes that identify the weights of a model.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use revealed_models::{CausalLm, Weight};
use sha2::{Digest, Sha256};

/// SHA-256 of config and weights with names and shapes, without adapters. One tensor at a time is read back from the device.
pub(crate) fn of_weights(model: &CausalLm) -> String {
    let mut visitor = Hash { path: vec![], hasher: Sha256::new() };
    visitor.hasher.update(serde_json::to_vec(model.config().fields()).unwrap_or_default());
    model.visit(&mut visitor);
    hex(&visitor.hasher.finalize())
}

/// Bytes as lower-case hexadecimal text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Hash {
    path: Vec<String>,
    hasher: Sha256,
}

impl ModuleVisitor for Hash {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        if container_type != Weight::CONTAINER_TYPE {
            self.path.push(name.into());
        }
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        if container_type != Weight::CONTAINER_TYPE {
            self.path.pop();
        }
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.path.iter().any(|part| part == "lora") {
            let tensor = param.val();
            self.hasher.update(format!("{} {:?} ", self.path.join("."), tensor.dims()));
            self.hasher.update(tensor.into_data().as_bytes());
        }
    }
}
