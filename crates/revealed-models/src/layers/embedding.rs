//! Token embeddings.

use burn::module::Module;
use burn::tensor::{Int, Tensor};

use super::weight::Weight;

/// Rows of a table by token id.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[V, D]`.
    pub weight: Weight,
}

impl Embedding {
    /// # Shapes
    /// - ids: `[B, T]`, output: `[B, T, D]`
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [batch, time] = ids.dims();
        let rows = self.weight.rows(ids.reshape([batch * time]));
        let width = rows.dims()[1];
        rows.reshape([batch, time, width])
    }
}
