"""Checks the checker on folders that Transformers and PEFT wrote: damaged ones must fail.

python test_check.py
"""

import json
import pathlib
import shutil
import tempfile
import unittest

from safetensors.torch import load_file, save_file

import check

MODELS = pathlib.Path(__file__).resolve().parent.parent / "models"


class Checker(unittest.TestCase):
    def setUp(self):
        self.out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def copy(self, name):
        return shutil.copytree(MODELS / name, self.out / name, copy_function=shutil.copyfile)

    def tensors(self, file, change):
        tensors = load_file(file)
        change(tensors)
        save_file(tensors, file, metadata={"format": "pt"})

    def run_check(self, *arguments):
        return check.main([str(a) for a in arguments])

    def test_every_golden_model_passes(self):
        for expected in sorted(MODELS.glob("*/expected.json")):
            if (expected.parent / "config.json").exists() and not expected.parent.name.endswith(
                "-reward"
            ):
                with self.subTest(expected.parent.name):
                    self.assertEqual(self.run_check("model", expected.parent, expected), 0)

    def test_golden_adapters_and_rewards_pass(self):
        for kind, base, name in (
            ("adapter", "llama3", "llama3-lora"),
            ("adapter", "pythia", "pythia-lora"),
            ("reward-adapter", "llama3", "llama3-reward-lora"),
        ):
            self.assertEqual(
                self.run_check(kind, MODELS / base, MODELS / name, MODELS / name / "expected.json"),
                0,
            )
        reward = MODELS / "qwen2-reward"
        self.assertEqual(self.run_check("reward", reward, reward / "expected.json"), 0)

    def test_a_changed_weight_fails(self):
        folder = self.copy("qwen2")
        self.tensors(folder / "model.safetensors", lambda t: t["model.norm.weight"].mul_(1.01))
        self.assertEqual(self.run_check("model", folder, folder / "expected.json"), 1)

    def test_a_missing_or_extra_tensor_fails(self):
        folder = self.copy("mistral")
        self.tensors(folder / "model.safetensors", lambda t: t.pop("lm_head.weight"))
        self.assertEqual(self.run_check("model", folder, folder / "expected.json"), 1)
        folder = self.copy("qwen3")
        self.tensors(
            folder / "model.safetensors", lambda t: t.update(stray=t["model.norm.weight"].clone())
        )
        self.assertEqual(self.run_check("model", folder, folder / "expected.json"), 1)

    def test_a_wrong_number_a_nan_or_a_wrong_greedy_id_fails(self):
        folder = MODELS / "linear-rope"
        for change in (
            lambda n: n["logits"][2][3].__setitem__(7, n["logits"][2][3][7] + 1e-3),
            lambda n: n["logits"][2][3].__setitem__(7, float("nan")),
            lambda n: n["log_probs"][0].pop(),
            lambda n: n["greedy"][1].__setitem__(11, 63 - n["greedy"][1][11]),
            lambda n: n.pop("rows"),
        ):
            numbers = json.loads((folder / "expected.json").read_text())
            change(numbers)
            (self.out / "numbers.json").write_text(json.dumps(numbers))
            self.assertEqual(self.run_check("model", folder, self.out / "numbers.json"), 1)

    def test_a_wrong_adapter_scale_or_tensor_name_fails(self):
        folder = self.copy("pythia-lora")
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps({**config, "use_rslora": False}))
        self.assertEqual(
            self.run_check("adapter", MODELS / "pythia", folder, folder / "expected.json"), 1
        )
        folder = self.copy("llama3-lora")
        name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
        self.tensors(
            folder / "adapter_model.safetensors", lambda t: t.update({name + "s": t.pop(name)})
        )
        self.assertEqual(
            self.run_check("adapter", MODELS / "llama3", folder, folder / "expected.json"), 1
        )

    def test_a_wrong_reward_fails(self):
        folder = self.copy("qwen2-reward")
        self.tensors(folder / "model.safetensors", lambda t: t["score.weight"].neg_())
        self.assertEqual(self.run_check("reward", folder, folder / "expected.json"), 1)
        self.tensors(folder / "model.safetensors", lambda t: t.pop("score.weight"))
        self.assertEqual(self.run_check("reward", folder, folder / "expected.json"), 1)
        folder = self.copy("llama3-reward-lora")
        self.tensors(
            folder / "adapter_model.safetensors", lambda t: t.pop("base_model.model.score.weight")
        )
        self.assertEqual(
            self.run_check("reward-adapter", MODELS / "llama3", folder, folder / "expected.json"), 1
        )


if __name__ == "__main__":
    unittest.main()
