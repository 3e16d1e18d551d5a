"""Makes tests/golden/smollm2_greedy.json: greedy continuations by transformers.

python tools/make_reference/greedy_reference.py MODEL_DIR OUT.json
"""

import argparse
import pathlib

import transformers

import figures
import golden_file
import hugging_face
import weights_digest

STEPS = 40

# Each is a chat (through the model's template) or plain text.
PROMPTS = {
    "capital": [{"role": "user", "content": "What is the capital of France?"}],
    "system": [
        {"role": "system", "content": "You answer in one short sentence and you never use lists."},
        {"role": "user", "content": "Why does the moon seem to change its shape during a month, "
                                    "and how long does one whole cycle of its phases take?"}],
    "history": [
        {"role": "user", "content": "Name three fruits."},
        {"role": "assistant", "content": "Apples, pears and plums."},
        {"role": "user", "content": "Now sort them by the number of letters, shortest first, and "
                                    "say which of them grows on the tallest tree."}],
    "text": "The lighthouse keeper climbed the narrow stairs every evening at dusk, carrying a can "
            "of oil and a clean cloth. The lamp had to burn until sunrise, whatever the weather "
            "did, because the rocks below had already taken more ships than anyone in the village "
            "cared to count. His daughter asked him why he",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model_dir", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    options = parser.parse_args()

    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model_dir)
    model = hugging_face.load_model(options.model_dir)
    prompts = []
    for name, prompt in PROMPTS.items():
        if isinstance(prompt, str):
            entry = {"name": name, "text": prompt}
            ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        else:
            entry = {"name": name, "messages": prompt}
            ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True)
        output, logits = hugging_face.greedy(model, ids, STEPS, {tokenizer.eos_token_id})
        wanted = figures.next_token(logits, output)
        prompts.append({**entry, "prompt_ids": ids, "output_ids": output,
                        "output_text": tokenizer.decode(output, skip_special_tokens=True),
                        "logprob": wanted["logprob"], "margin": wanted["margin"]})
    golden_file.write(options.out, {
        "about": "output_ids end with the stop token where it came within the steps; margin = log-"
                 "probability of the chosen token less that of the second best",
        "script": "tools/make_reference/greedy_reference.py",
        "reference": hugging_face.versions(),
        "weights_sha256": weights_digest.sha256(options.model_dir),
        "prompts": prompts,
    })


main()
