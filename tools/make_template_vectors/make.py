#!/usr/bin/env python3
"""Writes tests/data/templates/vectors.json: templates, contexts and what Jinja2 makes of them.

Usage: make.py [OUTPUT]. Needs Jinja2 3.1.6 (requirements.txt); output does not depend on anything
else. Format: {"templates": {name: source}, "contexts": {name: object}, "cases": [{"template" or
"source", "context", "output" or "error"}]}.
"""
import json
import pathlib
import sys

import conversations
import environment
import expressions

HERE = pathlib.Path(__file__).resolve().parent
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def main():
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else (
        HERE.parents[1] / "tests/data/templates/vectors.json")
    oracle = environment.make_environment()
    templates = {path.stem: path.read_text(encoding="utf-8")
                 for path in sorted((HERE / "templates").glob("*.jinja"))}
    contexts = {name: {**TOKENS, **context}
                for name, context in conversations.CONVERSATIONS.items()}
    cases = []
    for template, source in templates.items():
        for name, context in contexts.items():
            cases.append({"template": template, "context": name,
                          **environment.render(oracle, source, context)})
    contexts["expressions"] = expressions.CONTEXT
    sources = ["{{ [" + line + "] }}|{{ " + line + " }}" for line in expressions.EXPRESSIONS]
    for source in sources + expressions.STATEMENTS:
        cases.append({"source": source, "context": "expressions",
                      **environment.render(oracle, source, expressions.CONTEXT)})
    for case in cases:  # addresses of Python objects are no part of the contract
        if " object at 0x" in case.get("output", "") or "<built-in" in case.get("output", ""):
            raise SystemExit(f"not reproducible: {case}")
    vectors = {"templates": templates, "contexts": contexts, "cases": cases}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(vectors, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    failed = sum("error" in case for case in cases)
    print(f"{len(cases)} cases ({failed} expect an error), {len(templates)} templates -> {output}")


if __name__ == "__main__":
    main()
