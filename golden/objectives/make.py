"""Golden values for the crate `revealed-objectives`.

    pip install -r ../requirements.txt trl==1.16.0
    pip install --no-deps --target FOLDER trl==0.24.0      # the last version with a PPO trainer and its `trl/core.py`
    python make.py FOLDER

Writes `expected.json` beside this file: for each case its inputs, its output and, where a gradient is meant, the gradient of
`sum(output * upstream)` in the named inputs. Everything is computed in float64 with PyTorch, from these sources:

- whitening: TRL 0.24.0 `core.masked_whiten`; entropy and group deviation: TRL 1.16.0 `entropy_from_logits`, `nanstd`;
- logistic, cross-entropy, hinge, Poisson and squared losses: `torch.nn.functional`; gradients: torch.autograd;
- DPO, IPO and the `center_rewards` loss: the lines of TRL 1.16.0 `DPOTrainer` and `RewardTrainer`;
- the product of experts: the normalised product of two probabilities; negative reweighting: the gradient of the logistic loss;
- GAE, leave-one-out, shaped rewards, sequence reductions, IQ-Learn: plain Python loops over unpadded rows, written from the
  equations; the running baseline: its closed form; the KL controller: plain Python.

New cases go last, so that the random numbers of the old ones stay.
"""

import importlib.util
import json
import math
import pathlib
import sys

import torch
import torch.nn.functional as F
import trl
from trl.trainer.utils import entropy_from_logits, nanstd

torch.set_num_threads(1)
torch.manual_seed(20)
B, T = 4, 5
LENGTHS = [5, 3, 0, 1]
MASK = torch.tensor([[t < n for t in range(T)] for n in LENGTHS])


def load_trl_core(folder):
    spec = importlib.util.spec_from_file_location("trl_core", pathlib.Path(folder) / "trl" / "core.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draw(*shape, scale=1.0):
    """Random numbers of three decimals, so that f32 and f64 start from the same ones."""
    return (torch.randn(*shape, dtype=torch.float64) * scale * 1000).round() / 1000


def upstream(shape):
    """A gradient that is different for every element."""
    n = math.prod(shape)
    return ((torch.arange(n, dtype=torch.float64) * 7 % 11 - 4) / 4).reshape(shape)


CASES = {}


def case(name, output, inputs, numbers=None):
    """Records a case; inputs that require grad get a gradient."""
    outputs = output if isinstance(output, tuple) else (output,)
    record = {"inputs": {}, "numbers": numbers or {}, "outputs": [o.detach().tolist() for o in outputs]}
    for key, value in inputs.items():
        record["inputs"][key] = value.detach().tolist()
    tracked = {k: v for k, v in inputs.items() if v.requires_grad}
    if tracked:
        weight = upstream(outputs[0].shape)
        record["upstream"] = weight.tolist()
        grads = torch.autograd.grad((outputs[0] * weight).sum(), list(tracked.values()), retain_graph=True)
        record["gradients"] = {k: g.tolist() for k, g in zip(tracked, grads)}
    CASES[name] = record


def rows(values):
    """Each row without its padding."""
    return [values[b, :n] for b, n in enumerate(LENGTHS)]


def padded(listed):
    """Rows of any length as [B,T] with zeros after."""
    return torch.stack([torch.cat([row, row.new_zeros(T - len(row))]) for row in listed])


def reductions(core):
    x = draw(B, T, scale=2.0).requires_grad_()
    flat = torch.cat(rows(x))
    tokens = 23.0
    base = {"values": x, "mask": MASK}
    case("masked_sum", flat.sum().reshape(1), base)
    case("masked_mean", flat.mean().reshape(1), base)
    case("token_mean", (flat.sum() / tokens).reshape(1), base, {"tokens": tokens})
    case("sequence_sum", torch.stack([row.sum() for row in rows(x)]), base)
    case("sequence_mean", torch.stack([row.mean() if len(row) else row.sum() for row in rows(x)]), base)
    for name, shift in [("whiten_remove", True), ("whiten_keep", False)]:
        case(name, core.masked_whiten(x, MASK, shift_mean=shift).masked_fill(~MASK, 0.0), base)
    v = draw(6).requires_grad_()
    w = draw(6).abs()
    case("weighted_mean", (sum(a * b for a, b in zip(v, w)) / sum(w)).reshape(1), {"values": v, "weights": w})


def likelihoods():
    logits = draw(B, T, 7, scale=3.0)
    targets = torch.randint(0, 7, (B, T))
    losses = F.cross_entropy(logits.reshape(-1, 7), targets.reshape(-1), reduction="none").reshape(B, T)
    log_probs = logits.log_softmax(-1).gather(-1, targets[..., None]).squeeze(-1)
    case("token_cross_entropy", losses.masked_fill(~MASK, 0.0), {"log_probs": log_probs, "mask": MASK})
    flat = draw(6, 9, scale=4.0).requires_grad_()
    case("entropy", entropy_from_logits(flat), {"logits": flat})


def pairs():
    d = torch.tensor([0.0, 0.3, -1.2, 2.5, 40.0, -40.0, 1.0, 0.75], dtype=torch.float64).requires_grad_()
    s = torch.tensor([0.0, -0.4, 0.9, 2.25, -45.0, 45.0, 3.0, -0.5], dtype=torch.float64).requires_grad_()
    one, zero = torch.ones_like(d), torch.zeros_like(d)
    base = {"demonstration": d, "sample": s}
    bce = F.binary_cross_entropy_with_logits
    case("pairwise_logistic", bce(d - s, one, reduction="none"), base)
    numbers = {"label_smoothing": 0.1, "margin": 0.6}
    case("pairwise_logistic_smoothed", bce(d - s - 0.6, one * 0.9, reduction="none"), base, numbers)
    case("linear_difference", s - d, base)
    case("bce_discriminator", bce(d, one, reduction="none") + bce(s, zero, reduction="none"), base)
    case("hinge", F.margin_ranking_loss(d, s, one, margin=1.2, reduction="none"), base, {"margin": 1.2})
    mse = F.mse_loss
    case("least_squares", (mse(d, one, reduction="none") + mse(s, zero, reduction="none")) / 2, base)
    case("reward_l2", (mse(d, zero, reduction="none") + mse(s, zero, reduction="none")) / 2, base)
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(d.tolist(), s.tolist())]
    accuracy = torch.tensor([sum(wins) / len(wins)], dtype=torch.float64)
    case("pair_accuracy", accuracy, {k: v.detach() for k, v in base.items()})


def policies():
    low, high, value_range = 0.2, 0.28, 0.3
    old = -draw(B, T).abs()
    new = (old + draw(B, T, scale=0.4)).requires_grad_()
    a = draw(B, T)
    rho = torch.exp(new - old)
    loss = -torch.min(rho * a, rho.clamp(1 - low, 1 + high) * a)
    base = {"log_probs": new, "old_log_probs": old, "advantages": a}
    clips = {"epsilon": low, "epsilon_high": high}
    case("clipped_surrogate", loss, base, clips)
    active = ((a > 0) & (rho > 1 + high)) | ((a < 0) & (rho < 1 - low))
    assert 0 < active.sum() < active.numel()
    case("clip_fraction", active.double(), base | {"log_probs": new.detach()}, clips)
    row = {k: v[0].detach().clone() for k, v in base.items()}
    row["log_probs"].requires_grad_()
    rho = torch.exp(row["log_probs"] - row["old_log_probs"])
    loss = -torch.min(rho * row["advantages"], rho.clamp(1 - low, 1 + high) * row["advantages"])
    case("sequence_clipped_surrogate", loss, row, clips)
    case("approx_kl", (new - old).square() / 2, {"log_probs": new, "old_log_probs": old})

    v_old, returns = draw(B, T), draw(B, T)
    v = (v_old + draw(B, T, scale=0.4)).requires_grad_()
    clipped = torch.clamp(v, v_old - value_range, v_old + value_range)
    loss = torch.max((v - returns) ** 2, (clipped - returns) ** 2) / 2
    case("clipped_value_loss", loss, {"values": v, "old_values": v_old, "returns": returns}, {"clip_range": value_range})


def gae_row(rewards, values, gamma, lam):
    """A_t as the explicit sum of discounted temporal differences."""
    n = len(rewards)
    deltas = [rewards[t] + gamma * (values[t + 1] if t + 1 < n else 0.0) - values[t] for t in range(n)]
    return [sum((gamma * lam) ** (s - t) * deltas[s] for s in range(t, n)) for t in range(n)]


def advantages():
    rewards, values = draw(B, T), draw(B, T)
    gamma, lam = 0.97, 0.9
    a = padded([
        torch.tensor(gae_row(r.tolist(), v.tolist(), gamma, lam), dtype=torch.float64)
        for r, v in zip(rows(rewards), rows(values))
    ])
    returns = padded([x + v for x, v in zip(rows(a), rows(values))])
    inputs = {"rewards": rewards, "values": values, "mask": MASK}
    case("gae", (a, returns), inputs, {"gamma": gamma, "gae_lambda": lam})

    group = 4
    scores = draw(3, group, scale=2.0)
    loo = [[row[i] - (sum(row) - row[i]) / (group - 1) for i in range(group)] for row in scores.tolist()]
    inputs = {"scores": scores.reshape(-1)}
    case("rloo", torch.tensor(loo, dtype=torch.float64).reshape(-1), inputs, {"group": group})
    centred = scores - scores.mean(1, keepdim=True)
    std = nanstd(scores, dim=1, keepdim=True)
    case("grpo_std", (centred / (std + 1e-4)).reshape(-1), inputs, {"group": group})
    case("grpo_none", centred.reshape(-1), inputs, {"group": group})


def divergences():
    ref = -draw(B, T).abs()
    lp = (ref + draw(B, T, scale=0.7)).requires_grad_()
    base = {"log_probs": lp, "ref_log_probs": ref}
    case("k1", lp - ref, base)
    case("k2", (lp - ref) ** 2 / 2, base)
    case("k3", torch.expm1(ref - lp) - (ref - lp), base)

    scores, kl, coef = draw(B), draw(B, T), 0.05
    shaped = []
    for score, row in zip(scores, rows(kl)):
        rewards = [-coef * x for x in row]
        if rewards:
            rewards[-1] = rewards[-1] + score
        shaped.append(torch.stack(rewards) if rewards else row)
    case("kl_shaped_rewards", padded(shaped), {"scores": scores, "kl": kl, "mask": MASK}, {"kl_coef": coef})


def more_pairs():
    d = torch.tensor([0.0, 0.3, -1.2, 2.5, 40.0, -40.0, 1.0, 0.75], dtype=torch.float64).requires_grad_()
    s = torch.tensor([0.0, -0.4, 0.9, 2.25, -45.0, 45.0, 3.0, -0.5], dtype=torch.float64).requires_grad_()
    base = {"demonstration": d, "sample": s}
    numbers = {"label_smoothing": 0.1}
    right, wrong = torch.full_like(d, 0.9), torch.full_like(d, 0.1)
    bce, mse = F.binary_cross_entropy_with_logits, F.mse_loss
    case("center_rewards", (d + s) ** 2, base)
    losses = bce(d, right, reduction="none") + bce(s, wrong, reduction="none")
    case("bce_discriminator_smoothed", losses, base, numbers)
    losses = (mse(d, right, reduction="none") + mse(s, wrong, reduction="none")) / 2
    case("least_squares_smoothed", losses, base, numbers)
    (slope,) = torch.autograd.grad(-F.logsigmoid(d - s).sum(), [d])
    case("negative_weights", -2 * slope, {k: v.detach() for k, v in base.items()})

    scores, expert, c = draw(6).requires_grad_(), draw(6), 0.7
    p, e = scores.sigmoid(), expert.sigmoid() ** c
    yes, no = p * e, (1 - p) * (1 - expert.sigmoid()) ** c
    case("product_of_experts", torch.logit(yes / (yes + no)), {"scores": scores, "expert": expert}, {"coefficient": c})

    losses, weights, total = draw(6).requires_grad_(), draw(6).abs(), 11.0
    case("weighted_sum", (torch.dot(losses, weights) / total).reshape(1), {"losses": losses, "weights": weights}, {"total": total})


def log_ratios():
    d = torch.tensor([0.0, 0.3, -1.2, 2.5, 9.0, -9.0, 1.0, 0.75], dtype=torch.float64).requires_grad_()
    s = torch.tensor([0.0, -0.4, 0.9, 2.25, -10.0, 10.0, 3.0, -0.5], dtype=torch.float64).requires_grad_()
    one, zero = torch.ones_like(d), torch.zeros_like(d)
    scale, offset, smoothing = 0.4, 0.25, 0.1
    base = {"demonstration": d, "sample": s}
    numbers = {"scale": scale, "offset": offset, "label_smoothing": smoothing}
    gap, real, fake = d - s, scale * d + offset, scale * s + offset

    def add(name, losses):
        case(name, losses, base, numbers)

    add("spin_logistic", F.soft_margin_loss(scale * gap, one, reduction="none"))
    add("spin_hinge", F.margin_ranking_loss(scale * d, scale * s, one, margin=1.0, reduction="none"))
    add("irft_linear", scale * s - scale * d)
    bce, mse = F.binary_cross_entropy_with_logits, F.mse_loss
    add("gsil_bernoulli", bce(real, one, reduction="none") + bce(fake, zero, reduction="none"))
    add("gsil_brier", mse(real.sigmoid(), one, reduction="none") + mse(fake.sigmoid(), zero, reduction="none"))
    # of an input x with target -1: max(0, margin - x)
    embedding = F.hinge_embedding_loss
    add("gsil_hinge", embedding(real, -one, reduction="none") + embedding(-fake, -one, reduction="none"))
    # of an input x with target 0: exp(x)
    add("gsil_kliep", F.poisson_nll_loss(fake, zero, log_input=True, reduction="none") - real)
    add("gsil_lsif", mse(fake.exp(), zero, reduction="none") / 2 - real.exp())
    dpo = -F.logsigmoid(scale * gap) * (1 - smoothing) - F.logsigmoid(-scale * gap) * smoothing
    add("dpo_sigmoid", dpo)
    add("ipo", (gap - 1 / (2 * scale)) ** 2)

    ref = -draw(B, T).abs()
    lp = (ref + draw(B, T, scale=0.7)).requires_grad_()
    ref.requires_grad_()
    inputs = {"log_probs": lp, "ref_log_probs": ref, "mask": MASK}
    ratios = [a - b for a, b in zip(rows(lp), rows(ref))]
    case("dense_log_ratio", padded(ratios), inputs)
    case("sequence_log_ratio", torch.stack([a.sum() - b.sum() for a, b in zip(rows(lp), rows(ref))]), inputs)

    lam, gamma = 0.3, 0.9
    lp, values = (-draw(B, T).abs()).requires_grad_(), draw(B, T).requires_grad_()
    losses = []
    for p, v in zip(rows(lp), rows(values)):
        n = len(p)
        row = [lam * (v[t] + p[t] - (gamma * v[t + 1] if t + 1 < n else 0.0)) ** 2 - p[t] for t in range(n)]
        losses.append(torch.stack(row) if row else p)
    inputs = {"log_probs": lp, "values": values, "mask": MASK}
    case("iq_learn", padded(losses), inputs, {"lambda": lam, "gamma": gamma})


def baselines():
    scores, b = draw(6, scale=2.0), 0.35
    case("reinforce", torch.stack([score - b for score in scores]), {"scores": scores}, {"baseline": b})
    means, start, decay = draw(5, scale=2.0), 0.5, 0.8
    history = [
        decay ** (n + 1) * start + (1 - decay) * sum(decay ** (n - i) * m for i, m in enumerate(means.tolist()[: n + 1]))
        for n in range(len(means))
    ]
    case("running_baseline", torch.tensor(history, dtype=torch.float64), {"means": means}, {"start": start, "decay": decay})
    log_probs, advantages = (-draw(B, scale=3.0).abs()).requires_grad_(), draw(B)
    inputs = {"log_probs": log_probs, "advantages": advantages}
    case("reinforce_loss", torch.stack([-a * p for a, p in zip(advantages, log_probs)]), inputs)

    kls = [0.0, 3.0, 5.25, 6.0, 6.5, 7.0, 8.0, 60.0]
    coef, target, horizon, samples = 0.15, 6.0, 1000.0, 64
    adapted = [coef * (1 + min(max((kl - target) / target, -0.2), 0.2) * samples / horizon) for kl in kls]
    numbers = {"kl_coef": coef, "target": target, "horizon": horizon, "samples": samples}
    inputs = {"kl": torch.tensor(kls, dtype=torch.float64)}
    case("adapted_kl_coef", torch.tensor(adapted, dtype=torch.float64), inputs, numbers)


def rounded(value):
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def main():
    reductions(load_trl_core(sys.argv[1]))
    likelihoods()
    pairs()
    policies()
    advantages()
    divergences()
    more_pairs()
    log_ratios()
    baselines()
    versions = {"torch": torch.__version__, "trl": trl.__version__, "trl (core.masked_whiten)": "0.24.0"}
    lines = [f'"versions": {json.dumps(versions)}']
    lines += [f"{json.dumps(name)}: {json.dumps(rounded(record))}" for name, record in CASES.items()]
    target = pathlib.Path(__file__).with_name("expected.json")
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(CASES)} cases, {target.stat().st_size} bytes")


main()
