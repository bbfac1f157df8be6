#!/usr/bin/env python3
"""Compares the figures of `revealed eval mt-bench` and `eval judge` with FastChat's `show_result.py` on all questions, with a judge of
random verdicts (some none, some beyond the scale) on a local port, so it takes seconds and needs no model.

    python golden/mt_bench/figures.py --revealed target/debug/revealed --data MT_BENCH_FOLDER \
        --show-result fschat/fastchat/llm_judge/show_result.py --out OUT

Needs pandas; how to get `show_result.py` is in live.py. Exit code 0 or 1.
"""
import argparse, hashlib, json, shutil, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from live import lines, run, same_means, same_ratings, same_wins

SINGLE = ["Rating: [[7]]", "Rating: [[8.5]]", "[[3]] or [[9]]", "Rating: [6]", "Rating: 5", "[[85]]", "as in [120], [[4]]", "[[10]]", "[[1]]"]
PAIR = ["[[A]]", "[[A]]", "so [[B]]", "[[C]]", "[[B]], not [[A]]", "neither"]


class Judge(BaseHTTPRequestHandler):
    """A verdict that follows from the prompt alone, so that reruns agree."""

    def do_POST(self):
        prompt = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"][-1]["content"]
        words = PAIR if "Assistant B" in prompt else SINGLE
        text = words[hashlib.sha256(prompt.encode()).digest()[0] % len(words)]
        body = json.dumps({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["revealed", "data", "show-result", "out"]:
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    questions = args.data / "question.jsonl"
    for name in ["seed-0", "seed-1"]:
        rows = [{"question_id": q["question_id"], "answer_id": "x", "model_id": name, "choices": [{"index": 0, "turns": [f"{name} says {t}" for t in (1, 2)]}], "tstamp": 1.0} for q in lines(questions)]
        (args.out / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (args.out / "judge.toml").write_text(f'[judge]\nurl = "http://127.0.0.1:{server.server_port}/v1"\nmodel = "random"\nconcurrency = 4\n')
    bench = ["--questions", questions, "--judge-prompts", args.data / "judge_prompts.jsonl", "--references", args.data / "reference_answer_gpt-4.jsonl"]
    judge = ["--judge", args.out / "judge.toml", "--judge-key-env", "PLANTED", "--folder", args.out, "--table"]
    single, pair = args.out / "single.json", args.out / "pair.json"
    run([args.revealed, "eval", "mt-bench", "--answers", args.out / "seed-0.jsonl", *bench, *judge, "--out", single])
    run([args.revealed, "eval", "judge", args.out / "seed-0.jsonl", args.out / "seed-1.jsonl", *bench, *judge, "--out", pair])
    judgments = args.out / "model_judgment"
    good = same_ratings(judgments / "random_single.jsonl")
    good &= same_means(args, single, judgments / "random_single.jsonl")
    good &= same_wins(args, pair, judgments / "random_pair.jsonl")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
