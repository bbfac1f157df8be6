//! A custom operation as a node of autodiff's graph, on the backends that are compiled in.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, Backend, DispatchKindConversion, DispatchTensor};
use burn::tensor::Tensor;

use super::custom_op::CustomOp;

/// The result as a node of the graph; the inputs, where none is tracked or no such backend holds them.
pub(super) fn recorded<O, const N: usize, const D: usize>(
    operation: &O,
    inputs: [Tensor<D>; N],
) -> Result<Tensor<D>, [Tensor<D>; N]>
where
    O: CustomOp<N, D>,
{
    if !inputs.iter().any(Tensor::is_autodiff) {
        return Err(inputs);
    }
    #[cfg(feature = "flex")]
    let inputs = match on::<burn::backend::Flex, O, N, D>(operation, inputs) {
        Ok(output) => return Ok(output),
        Err(inputs) => inputs,
    };
    #[cfg(feature = "tch")]
    #[allow(deprecated)] // upstream drops it in 0.23; this workspace pins 0.22.1
    let inputs = match on::<burn::backend::LibTorch, O, N, D>(operation, inputs) {
        Ok(output) => return Ok(output),
        Err(inputs) => inputs,
    };
    #[cfg(feature = "cube")]
    let inputs = match on::<burn::backend::Cube, O, N, D>(operation, inputs) {
        Ok(output) => return Ok(output),
        Err(inputs) => inputs,
    };
    Err(inputs)
}

fn on<B, O, const N: usize, const D: usize>(
    operation: &O,
    inputs: [Tensor<D>; N],
) -> Result<Tensor<D>, [Tensor<D>; N]>
where
    B: Backend,
    O: CustomOp<N, D>,
    DispatchTensor: DispatchKindConversion<B> + DispatchKindConversion<Autodiff<B>>,
{
    let mut plain = Vec::with_capacity(N);
    let mut nodes = Vec::with_capacity(N);
    for input in &inputs {
        let input = if input.is_autodiff() { input.clone() } else { input.clone().autodiff() };
        let Ok(primitive) = input.try_into_primitive::<Autodiff<B>>() else { return Err(inputs) };
        let (primitive, node) = primitive.into_parts();
        plain.push(Tensor::<D>::from_primitive::<B>(primitive));
        nodes.push(node);
    }
    let (Ok(plain), Ok(nodes)) = (plain.try_into(), nodes.try_into()) else { return Err(inputs) };
    // Nobody else holds them now, unless the caller does.
    drop(inputs);
    let (output, kept) = operation.forward(plain);
    let output = primitive::<B, D>(output);
    let step: Step<O, D> = Step(operation.clone());
    let prepared = Backward::<B, N>::prepare::<NoCheckpointing>(step, nodes);
    let output = match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(kept, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    Ok(Tensor::from_primitive::<Autodiff<B>>(output))
}

/// What the backend itself holds of a plain tensor that it made.
fn primitive<B, const D: usize>(tensor: Tensor<D>) -> B::FloatTensorPrimitive
where
    B: Backend,
    DispatchTensor: DispatchKindConversion<B>,
{
    tensor.try_into_primitive::<B>().expect("an operation stays on its inputs' backend, and plain")
}

/// An operation on tensors of rank `D` in a graph.
#[derive(Debug)]
struct Step<O, const D: usize>(O);

impl<B, O, const N: usize, const D: usize> Backward<B, N> for Step<O, D>
where
    B: Backend,
    O: CustomOp<N, D>,
    DispatchTensor: DispatchKindConversion<B>,
{
    type State = O::Saved;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = Tensor::<D>::from_primitive::<B>(gradients.consume::<B>(&ops.node));
        let needed = ops.parents.each_ref().map(Option::is_some);
        let found = self.0.backward(ops.state, gradient, needed);
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<B>(parent.id, primitive::<B, D>(gradient));
            }
        }
    }
}
