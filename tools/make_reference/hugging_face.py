"""The reference: Hugging Face transformers in float32 on the CPU, eager attention."""

import torch
import transformers


def versions():
    return {"transformers": transformers.__version__, "torch": torch.__version__,
            "dtype": "float32"}


def load_model(folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, torch_dtype=torch.float32, attn_implementation="eager")
    return model.eval()


@torch.no_grad()
def logits(model, ids):
    """[len(ids), vocab] float32 NumPy array."""
    return model(torch.tensor([ids])).logits[0].float().numpy()


@torch.no_grad()
def greedy(model, prompt, steps, stop_ids):
    """(ids, logits [len(ids), vocab]): argmax decoding; a stop id ends it and is included."""
    ids, rows, cache, feed = [], [], transformers.DynamicCache(), list(prompt)
    while len(ids) < steps and not (ids and ids[-1] in stop_ids):
        result = model(torch.tensor([feed]), past_key_values=cache, use_cache=True)
        rows.append(result.logits[0, -1].float())
        feed = [int(rows[-1].argmax())]
        ids += feed
    return ids, torch.stack(rows).numpy()
