#![doc = include_str!("../README.md")]

mod device;
mod pages;

pub use burn;
pub use burn::tensor::Device;
pub use device::{DeviceError, device};
pub use pages::tune_allocator;
pub use revealed_data as data;
pub use revealed_eval as eval;
pub use revealed_hub as hub;
pub use revealed_lab as lab;
pub use revealed_models as models;
pub use revealed_objectives as objectives;
pub use revealed_report as report;
pub use revealed_reward as reward;
pub use revealed_train as train;
