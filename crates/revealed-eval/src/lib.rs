#![doc = include_str!("../README.md")]

pub mod preferences;
pub mod shop_desk;
pub mod stats;
