#![doc = include_str!("../README.md")]

pub mod shop_desk;
pub mod stats;
