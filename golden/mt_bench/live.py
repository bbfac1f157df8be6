#!/usr/bin/env python3
"""Runs `revealed eval mt-bench` and `eval judge` against a real server and compares the files with FastChat's own reading.

A server of the OpenAI interface gives the judge; the model that answers is a folder, run by `revealed`. The server is `transformers serve`
with that folder, or, with --gguf, llama.cpp's, whose answers a grammar (`[judge.extra]`) makes end in a verdict, so that even a small model
gives figures to compare.
FastChat's `show_result.py`, unchanged, reads the files of judgements; its means and win rates have to be those of the records.
Its rating patterns are also compared with what `revealed` read from every judgement. Nothing of FastChat or MT-Bench is kept.

    python -m pip install "transformers[serving]" torch pandas         # or: pandas xllamacpp, with --gguf
    python -m pip download --no-deps fschat && unzip fschat-*.whl -d fschat
    python golden/mt_bench/live.py --revealed target/debug/revealed --model SMOLLM2_FOLDER --data MT_BENCH_FOLDER \
        --show-result fschat/fastchat/llm_judge/show_result.py --out OUT

--data holds question.jsonl, judge_prompts.jsonl and reference_answer_gpt-4.jsonl. Exit code 0 or 1.
"""
import argparse, contextlib, importlib.util, io, json, os, re, shutil, socket, subprocess, sys, time, urllib.request
from pathlib import Path

ONE_SCORE, BACKUP = re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]")
KEY = "sk-planted-0123456789"
# A sentence at most, then the verdict; neither has brackets of its own.
GRAMMAR = r'root ::= [^\[\]\n]{1,100} "\n[[" verdict "]]"' + "\nverdict ::= "
VERDICTS = {"single": '"10" | [1-9]', "pair": "[ABC]"}
LLAMA = """import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.hostnames, params.port = sys.argv[1], ["127.0.0.1"], int(sys.argv[2])
params.n_ctx, params.n_parallel, params.n_gpu_layers = 8192, 1, 0
server = xllamacpp.Server(params)
while True:
    time.sleep(60)
"""


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def some_questions(data, out, categories):
    """The first question of each category, so that references and temperatures of every kind occur."""
    chosen = {}
    for question in lines(data / "question.jsonl"):
        chosen.setdefault(question["category"], question)
    path = out / "question.jsonl"
    path.write_text("".join(json.dumps(chosen[name]) + "\n" for name in categories))
    return path


def serve(args, log):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["transformers", "serve", str(args.model), "--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    if args.gguf:
        command = [sys.executable, "-c", LLAMA, str(args.gguf), str(port)]
    server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    for _ in range(180):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
            return server, f"http://127.0.0.1:{port}/v1"
        time.sleep(1)
    server.kill()
    sys.exit("the server did not start; see server.log")


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env={**os.environ, "PLANTED": KEY})
    print("$", " ".join(map(str, command[1:4])), "…\n" + done.stderr + done.stdout)
    assert done.returncode == 0 and KEY not in done.stderr + done.stdout
    return done


def shown(show_result, mode, path):
    """What FastChat prints of a file, as text."""
    spec = importlib.util.spec_from_file_location("show_result", show_result)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    args = argparse.Namespace(input_file=str(path), bench_name="mt_bench", judge_model="-", model_list=None, baseline_model=None)
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        (module.display_result_single if mode == "single" else module.display_result_pairwise)(args)
    print(text.getvalue())
    return text.getvalue()


def close(name, ours, theirs):
    print(f"{name}: {ours} here, {theirs} by FastChat")
    return abs(ours - theirs) < 1e-5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["revealed", "model", "data", "show-result", "out"]:
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--gguf", type=Path, help="the judge's weights, for llama.cpp's server")
    parser.add_argument("--categories", default="writing,reasoning,math,stem")
    parser.add_argument("--answer-tokens", type=int, default=64)
    parser.add_argument("--judge-tokens", type=int, default=96)
    parser.add_argument("--k", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=0.0)
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    questions = some_questions(args.data, args.out, args.categories.split(","))
    with open(args.out / "server.log", "w") as log:
        server, url = serve(args, log)
        try:
            good = judge_all(args, questions, url)
        finally:
            server.terminate()
            server.wait()
    text = "".join(path.read_text(errors="ignore") for path in args.out.rglob("*") if path.is_file())
    print("the key is in no file:", KEY not in text)
    sys.exit(0 if good and KEY not in text else 1)


def judge_all(args, questions, url):
    for mode, verdict in VERDICTS.items():
        extra = f"[judge.extra]\ngrammar = '''{GRAMMAR}{verdict}'''\n" if args.gguf else ""
        (args.out / f"{mode}.toml").write_text(
            f'[judge]\nurl = "{url}"\nmodel = "{args.gguf or args.model}"\nmax_tokens = {args.judge_tokens}\ntimeout_s = 300.0\nk = {args.k}\ntemperature = {args.temperature}\n{extra}')
    references = ["--references", args.data / "reference_answer_gpt-4.jsonl"]
    bench = ["--questions", questions, "--judge-prompts", args.data / "judge_prompts.jsonl", *references]
    judge = lambda mode: ["--judge", args.out / f"{mode}.toml", "--judge-key-env", "PLANTED", "--folder", args.out]
    answer = ["--model", args.model, "--max-tokens", args.answer_tokens]
    single = lambda name, seed: [args.revealed, "eval", "mt-bench", *bench, *judge("single"), *answer, "--seed", seed, "--model-id", name, "--table"]
    record = args.out / "single.json"
    run([*single("seed-0", 0), "--out", record])
    done = run(single("seed-0", 0))
    assert "0 judgements asked for" in done.stderr, "a rerun has to ask nothing"
    run([args.revealed, "eval", "mt-bench", *bench, *answer, "--folder", args.out, "--seed", 1, "--model-id", "seed-1"])
    answers = [args.out / "model_answer" / f"seed-{seed}.jsonl" for seed in (0, 1)]
    pair_record = args.out / "pair.json"
    run([args.revealed, "eval", "judge", *answers, *bench, *judge("pair"), "--table", "--out", pair_record])
    judgments = args.out / "model_judgment"
    [singles], pairs = judgments.glob("*_single.jsonl"), [p for p in judgments.glob("*_pair.jsonl")][0]
    return same_ratings(singles) & same_means(args, record, singles) & same_wins(args, pair_record, pairs)


def same_ratings(path):
    good = True
    for row in lines(path):
        match = ONE_SCORE.search(row["judgment"]) or BACKUP.search(row["judgment"])
        theirs = float(match.group(1)) if match else -1
        if theirs > 10:
            theirs = -1  # the one departure: beyond the scale is no rating
        good &= row["score"] == theirs
    parsed = [row["score"] for row in lines(path) if row["score"] >= 0]
    print(f"{len(lines(path))} judgements, {len(parsed)} with a rating: {parsed}; read alike: {good}")
    return good


def same_means(args, record, path):
    figures = {f["name"]: f["value"] for f in json.loads(record.read_text())["figures"] if "subset" not in f}
    text = shown(args.show_result, "single", path)
    rated = re.findall(r"^seed-0\b.*?([\d.]+)\s*$", text, re.MULTILINE)
    if not rated:
        print("no judgement has a rating; only the files' layout is checked")
        return "score" not in figures
    names = [name for name in ["turn_1", "turn_2", "score"] if name in figures]
    return len(names) == len(rated) and all([close(name, figures[name], float(value)) for name, value in zip(names, rated)])


def same_wins(args, record, path):
    figures = {f["name"]: f["value"] for f in json.loads(record.read_text())["figures"] if "subset" not in f}
    if "win_rate" not in figures:
        print("no match has two verdicts; only the files' layout is checked")
        return all("error" in (row["g1_winner"], row["g2_winner"]) for row in lines(path))
    row = re.search(r"^seed-0\s+(.*)$", shown(args.show_result, "pair", path), re.MULTILINE).group(1).split()
    theirs = dict(zip(["win_rate", "loss_rate", "win_rate_adjusted"], map(float, row[3:])))
    return all([close(name, figures[name], value) for name, value in theirs.items()])


if __name__ == "__main__":
    main()
