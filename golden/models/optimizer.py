"""AdamW steps, schedules and clipping by the global norm, by PyTorch and Transformers."""

import torch
import transformers

from seeds import generator


def floats(tensor):
    """Every bit: Python writes a float32 widened to double so that it reads back exactly."""
    return tensor.detach().tolist()


def adamw_cases():
    cases = []
    for name, lr, eps, weight_decay in (
        ("plain", 0.01, 1e-8, 0.0),
        ("decay", 0.01, 1e-8, 0.1),
        ("large-eps", 0.1, 1e-3, 0.1),
    ):
        rng = generator("adamw/" + name)
        params = {
            "vector": torch.randn(5, generator=rng),
            "matrix": torch.randn(3, 4, generator=rng),
        }
        params = {k: torch.nn.Parameter(v) for k, v in params.items()}
        optimizer = torch.optim.AdamW(
            params.values(),
            lr=lr,
            betas=(0.9, 0.999),
            eps=eps,
            weight_decay=weight_decay,
            foreach=False,
        )
        case = {
            "name": name,
            "lr": lr,
            "betas": [0.9, 0.999],
            "eps": eps,
            "weight_decay": weight_decay,
        }
        case["params"] = {k: floats(v) for k, v in params.items()}
        case["steps"] = []
        for _ in range(5):
            for p in params.values():
                # magnitudes from 1e-4 to 10, so that eps and the second moment matter
                scale = 10.0 ** torch.randint(-4, 2, p.shape, generator=rng)
                p.grad = torch.randn(p.shape, generator=rng) * scale
            grads = {k: floats(v.grad) for k, v in params.items()}
            optimizer.step()
            case["steps"].append(
                {"grads": grads, "params": {k: floats(v) for k, v in params.items()}}
            )
        cases.append(case)
    return cases


def schedule_cases():
    cases = []
    for name, warmup in (
        ("linear", 5),
        ("linear", 0),
        ("cosine", 5),
        ("cosine", 0),
        ("constant_with_warmup", 5),
    ):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        schedule = transformers.get_scheduler(
            name, optimizer, num_warmup_steps=warmup, num_training_steps=20
        )
        values = []
        for _ in range(20):
            values.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        cases.append(
            {"name": name, "lr": 0.5, "warmup_steps": warmup, "total_steps": 20, "values": values}
        )
    return cases


def clipping_cases():
    cases = []
    for name, scale, max_norm in (("above", 3.0, 1.0), ("below", 0.1, 1.0), ("half", 1.0, 0.5)):
        rng = generator("clip/" + name)
        grads = {
            "vector": scale * torch.randn(5, generator=rng),
            "matrix": scale * torch.randn(3, 4, generator=rng),
        }
        params = {k: torch.nn.Parameter(torch.zeros_like(v)) for k, v in grads.items()}
        for k, p in params.items():
            p.grad = grads[k].clone()
        norm = torch.nn.utils.clip_grad_norm_(params.values(), max_norm).item()
        cases.append(
            {
                "name": name,
                "max_norm": max_norm,
                "norm": norm,
                "grads": {k: floats(v) for k, v in grads.items()},
                "clipped": {k: floats(p.grad) for k, p in params.items()},
            }
        )
    return cases
