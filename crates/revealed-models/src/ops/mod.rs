//! Operations with backward passes of their own, and kernels for the flex backend.

mod apply;
mod custom_op;
#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(any(feature = "flex", feature = "tch", feature = "cube"))]
mod graph;
#[cfg(all(test, feature = "flex"))]
mod testing;

pub(crate) use apply::apply;
pub(crate) use custom_op::CustomOp;
#[cfg(all(test, feature = "flex"))]
pub(crate) use testing::{assert_as_autodiff, some_numbers};
