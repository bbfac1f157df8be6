"""Rows, tasks and runs behind expected.json. Everything here is made up."""

WORDS = "lantern orchard pebble harbour willow copper thistle meadow anvil saddle ember violet".split()

DATA = {
    "arc": [
        {"id": "m1", "question": "Which of these keeps tea warm?", "choices": {"text": ["a lid", "a sieve", "a spoon of salt", "an open window"], "label": ["A", "B", "C", "D"]}, "answerKey": "A"},
        {"id": "m2", "question": "What does a kite need to rise?", "choices": {"text": ["rain", "wind", "sand"], "label": ["1", "2", "3"]}, "answerKey": "2"},
        {"id": "m3", "question": "Où pousse la mousse ?", "choices": {"text": ["à l'ombre", "en plein été", "sur la braise — jamais"], "label": ["A", "B", "C"]}, "answerKey": "A"},
        {"id": "m4", "question": "Which tool cuts wood? 木", "choices": {"text": ["鋸", "a feather", "a saw"], "label": ["A", "B", "C"]}, "answerKey": "C"},
    ],
    "arc_shots": [
        {"id": f"s{i}", "question": f"Which is number {i} in the list of {a} and {b}?", "choices": {"text": [a, b, f"neither {a}"], "label": ["A", "B", "C"]}, "answerKey": "ABC"[i % 3]}
        for i, (a, b) in enumerate(zip(WORDS, WORDS[3:] + WORDS[:3]))
    ],
    "hellaswag": [
        {"ind": 1, "activity_label": "Mending a net", "ctx_a": "A fisher sits down [step] on the quay.", "ctx_b": "she", "endings": ["ties a knot [title] Pull it tight.", "throws  the boat away.", "sings to the anvil [substeps] twice."], "label": "0"},
        {"ind": 2, "activity_label": "Baking", "ctx_a": "The oven is hot.", "ctx_b": "", "endings": ["The bread goes in.", "The ÖVEN melts.", " A horse leaves. "], "label": "0"},
        {"ind": 3, "activity_label": "Rowing", "ctx_a": "Two people [header] row a boat.", "ctx_b": "then One of them", "endings": ["stops for breath.", "is a boat."], "label": "1"},
        {"ind": 4, "activity_label": "Painting", "ctx_a": "He dips the brush.", "ctx_b": "the wall", "endings": ["waits.", "is blue already, so he  stops."], "label": "1"},
    ],
    "mmlu": [
        {"question": f" How many {w} are left? ", "subject": subject, "choices": ["one", "two", "three", "naïve four"], "answer": i % 4}
        for i, (w, subject) in enumerate([("pebbles", "garden_lore"), ("anvils", "smithing"), ("thistles", "garden_lore"), ("saddles", "smithing")])
    ],
    "mmlu_shots": [
        {"question": f"What is {w}?", "subject": "smithing" if i % 2 else "garden_lore", "choices": [w, w + "s", "un" + w, "no " + w], "answer": (i * 3) % 4}
        for i, w in enumerate(WORDS[:6])
    ],
    "truthfulqa": [
        {"question": "Do pebbles float?", "mc1_targets": {"choices": ["No, they sink.", "Yes.", "Only on Tuesdays."], "labels": [1, 0, 0]}, "mc2_targets": {"choices": ["No, they sink.", "Most sink.", "Yes.", "Only on Tuesdays."], "labels": [1, 1, 0, 0]}},
        {"question": "Is rain wet?", "mc1_targets": {"choices": ["yes", "no", "at"], "labels": [1, 0, 0]}, "mc2_targets": {"choices": ["at", "yes!", "no", "yes"], "labels": [1, 0, 0, 1]}},
        {"question": "Can a willow walk?", "mc1_targets": {"choices": ["Trees stay put.", "It can."], "labels": [1, 0]}, "mc2_targets": {"choices": ["Trees stay put.", "It can."], "labels": [1, 0]}},
    ],
    "winogrande": [
        {"sentence": "The cup would not fit in the bag because the _ was too wide.", "option1": "cup", "option2": "bag", "answer": "1"},
        {"sentence": "Ann lent Bea a saw so _ could cut the plank.", "option1": "Ann", "option2": "Bea", "answer": "2"},
        {"sentence": "_ waved to the crew as the harbour came near.", "option1": "Zoë", "option2": "Tom", "answer": "1"},
    ],
    "winogrande_shots": [
        {"sentence": f"The {a} met the {b} and the _ was glad.", "option1": a, "option2": b, "answer": "12"[i % 2]}
        for i, (a, b) in enumerate(zip(WORDS[:5], WORDS[5:10]))
    ],
    "piqa": [
        {"goal": "Keep a door open", "sol1": "Push a wedge under it.", "sol2": "Close it twice.", "label": 0},
        {"goal": "Dry a wet boot", "sol1": "Put it in the pond.", "sol2": "Fill it with paper and wait.", "label": 1},
        {"goal": "Sharpen a pencil ✏", "sol1": "Turn it in a sharpener.", "sol2": "Eat it.", "label": 0},
    ],
    "openbookqa": [
        {"question_stem": "A magnet pulls", "choices": {"text": ["iron", "glass", "wool", "milk"], "label": ["A", "B", "C", "D"]}, "answerKey": "A"},
        {"question_stem": "The moon gives light that", "choices": {"text": ["comes from the sun", "it burns itself", "is heavy", "is green"], "label": ["A", "B", "C", "D"]}, "answerKey": " A"},
    ],
    "boolq": [
        {"passage": "Copper is a metal. It turns green in the rain.", "question": "does copper turn green", "label": 1},
        {"passage": "The ember went out.", "question": "is the ember still glowing", "label": 0},
        {"passage": "A violet is a flower.", "question": "is a violet a tree", "label": 0},
    ],
    "lambada": [
        {"text": "She looked for the lantern in the shed and in the barn, and under the bed she found the lantern"},
        {"text": "At last the boat came into the harbour"},
        {"text": "He asked for salt; nobody had any salt"},
    ],
    "gsm8k_shots": [
        {"question": f"There are {a} bowls and {b} more. How many?", "answer": f"{a} and {b} are {a + b}.\n#### {a + b}"}
        for a, b in [(2, 3), (10, 7), (4, 4), (120, 1000)]
    ],
    "spaces": [
        {"q": "the colour is ", "c": ["red", "  deep blue", "grün"], "g": [1, 2]},
        {"q": "", "c": ["nothing before", "ε"], "g": [0]},
        {"q": "a tab\t\n", "c": ["one", "two"], "g": [1]},
    ],
}

# A task that none of the built-in ones is like: no delimiter, contexts that end in spaces or are empty, several right choices.
OWN = {
    "task": "spaces",
    "output_type": "multiple_choice",
    "description": "",
    "doc_to_text": "{{q}}",
    "doc_to_choice": "{{c}}",
    "doc_to_target": "{{g}}",
    "target_delimiter": "",
    "metrics": ["acc", "acc_norm", "acc_bytes", "exact_match"],
}

# Answers that end at texts.
STOPS = {
    "task": "stops",
    "output_type": "generate_until",
    "doc_to_text": "{{text}}",
    "doc_to_target": "{{text.split(' ')[-1]}}",
    "fewshot_delimiter": "\n",
    "num_fewshot": 1,
    "metrics": ["exact_match"],
    "generation": {"until": [" ", "."], "max_gen_toks": 12},
    "exact_match": {"ignore_case": True, "ignore_punctuation": True},
}

# Texts for GSM8K's filters, with what is wanted.
FILTERED = [
    ["He has 3.\n#### 1,234\n", "She adds.\n#### 1234"],
    ["That is $7.50, or 8 in all", "#### 8"],
    ["It costs $7.50", "#### 7.50"],
    ["-12 and #### -3.", "#### -3"],
    ["#### 5 or #### 6", "#### 6"],
    ["no number", "#### 0"],
    ["", "#### 0"],
    ["a -4 b .. c", "#### 4"],
]

# name: file of lm-eval's own description, rows, shots' rows, shots, and what is changed.
RUNS = [
    dict(task="arc_challenge", yaml="arc/arc_challenge.yaml", data="arc", shots_data="arc_shots", shots=0),
    dict(task="arc_challenge", yaml="arc/arc_challenge.yaml", data="arc", shots_data="arc_shots", shots=4),
    dict(task="arc_easy", yaml="arc/arc_easy.yaml", data="arc", shots_data="arc_shots", shots=2, tokenizer="bos"),
    dict(task="arc_easy", yaml="arc/arc_easy.yaml", data="arc", shots_data="arc_shots", shots=2, chat=True),
    # 12 shots do not fit: contexts are cut from the left.
    dict(task="arc_challenge", yaml="arc/arc_challenge.yaml", data="arc", shots_data="arc_shots", shots=12, tokenizer="bos"),
    dict(task="hellaswag", yaml="hellaswag/hellaswag.yaml", data="hellaswag", shots_data="hellaswag", shots=2),
    dict(task="mmlu", yaml="mmlu/default/_default_template_yaml", data="mmlu", shots_data="mmlu_shots", shots=2, group="subject"),
    dict(task="mmlu", yaml="mmlu/default/_default_template_yaml", data="mmlu", shots_data="mmlu_shots", shots=2, group="subject", chat=True),
    dict(task="mmlu", yaml="mmlu/default/_default_template_yaml", data="mmlu", shots_data="mmlu_shots", shots=2, group="subject", limit=1),
    dict(task="truthfulqa_mc1", yaml="truthfulqa/truthfulqa_mc1.yaml", data="truthfulqa", shots=0, description="Q: Is an anvil heavy?\nA: An anvil is heavy.\n\n"),
    dict(task="truthfulqa_mc2", yaml="truthfulqa/truthfulqa_mc2.yaml", data="truthfulqa", shots=0, description="Q: Is an anvil heavy?\nA: An anvil is heavy.\n\n"),
    dict(task="winogrande", yaml="winogrande/default.yaml", data="winogrande", shots_data="winogrande_shots", shots=0),
    dict(task="winogrande", yaml="winogrande/default.yaml", data="winogrande", shots_data="winogrande_shots", shots=3),
    dict(task="piqa", yaml="piqa/piqa.yaml", data="piqa", shots_data="piqa", shots=1, tokenizer="bos"),
    dict(task="piqa", yaml="piqa/piqa.yaml", data="piqa", shots_data="piqa", shots=1, limit=2),
    dict(task="openbookqa", yaml="openbookqa/openbookqa.yaml", data="openbookqa", shots=0),
    dict(task="boolq", yaml="super_glue/boolq/default.yaml", data="boolq", shots_data="boolq", shots=1),
    dict(task="lambada", yaml="lambada/lambada_openai.yaml", data="lambada", shots=0),
    dict(task="lambada", yaml="lambada/lambada_openai.yaml", data="lambada", shots=0, tokenizer="bos"),
    dict(task="gsm8k", yaml="gsm8k/gsm8k.yaml", data="gsm8k", shots_data="gsm8k_shots", shots=2, max_gen_toks=24),
    dict(task="gsm8k", yaml="gsm8k/gsm8k.yaml", data="gsm8k", shots_data="gsm8k_shots", shots=2, max_gen_toks=24, chat=True, tokenizer="bos"),
    dict(task="stops.toml", own="STOPS", data="lambada", shots_data="lambada", shots=1),
    dict(task="spaces.toml", own="OWN", data="spaces", shots=0),
    dict(task="spaces.toml", own="OWN", data="spaces", shots=0, tokenizer="bos"),
]

TEXT = " ".join(
    [str(row) for rows in DATA.values() for row in rows]
    + ["Question: Answer: The following are multiple choice questions (with answers) about"] * 4
)
