//! A look for weights that are not numbers.

use crate::causal_lm::CausalLm;

impl CausalLm {
    /// The name of the first tensor, of the model or of an adapter on it, that holds NaN or
    /// infinity.
    pub fn non_finite_tensor(&self) -> Option<String> {
        let head = self.lm_head.iter();
        let head =
            head.map(|head| (format!("{}.weight", head.name), head.weight.tensor().into_data()));
        let own = self.decoder.named_tensors().into_iter().chain(head);
        let all = own.chain(self.adapter_tensors());
        let mut damaged =
            all.filter(|(_, data)| data.iter::<f32>().any(|value| !value.is_finite()));
        damaged.next().map(|(name, _)| name)
    }
}
