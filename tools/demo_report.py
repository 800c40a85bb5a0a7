#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""Small helpers of tools/demo.sh.

    demo_report.py hold-out TEXT TRAIN VALID   splits a text (plain or .zst): the last twentieth is held out
    demo_report.py sentence TEXT               a sentence of the text with one word replaced by [MASK]
    demo_report.py tokens MODEL                tokens that a trained model has seen
    demo_report.py table MODEL...              losses of trained models beside the unigram entropy, and what they say
    demo_report.py card MODEL                  the shipped model's loss beside its twins', from its training.json
"""

import json
import math
import os
import pathlib
import re
import subprocess
import sys


def read_text(path):
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dcq", "--long=27", path], check=True, capture_output=True).stdout.decode()
    return pathlib.Path(path).read_text(encoding="utf-8")


def write_text(path, text):
    unfinished = f"{path}.part"
    pathlib.Path(unfinished).write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def hold_out(source, train, valid):
    lines = read_text(source).split("\n")
    # Cut between documents (empty lines) where there are some, else between lines.
    wanted = len(lines) - max(1, len(lines) // 20)
    cut = next((i for i in range(wanted, 0, -1) if not lines[i].strip()), wanted)
    if cut < len(lines) // 2:
        cut = wanted
    write_text(train, "\n".join(lines[:cut]) + "\n")
    write_text(valid, "\n".join(lines[cut:]).strip() + "\n")


def sentence(path):
    for text in re.findall(r"[A-Z][^.!?\n]{30,90}\.", read_text(path)[:200000]):
        words = text.split()
        long_words = [i for i, word in enumerate(words) if i > 3 and word.isalpha() and word.islower() and 3 < len(word) < 8]
        if long_words and '"' not in text:
            words[long_words[-1]] = "[MASK]"
            return " ".join(words)
    return "The [MASK] is here."


def card_of(model):
    return json.loads(pathlib.Path(model, "training.json").read_text())


def table(models):
    """`models`: a tree, its dense twin, its twin without feedforward."""
    cards = [card_of(model) for model in models]
    unigram = cards[0]["data"]["unigram_entropy"]
    rows = [("feedforward", "parameters", "tokens seen", "held-out loss", "perplexity"),
            ("(word frequencies alone)", "", "", f"{unigram:.3f}", f"{math.exp(unigram):.1f}")]
    for card in cards:
        loss = card["validation_loss"]
        rows.append((card["feed_forward"], f"{card['parameters']:,}", f"{card['tokens']:,}", f"{loss:.3f}",
                     f"{math.exp(loss):.1f}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))))
    print("\nLoss: mean cross-entropy of masked words in nats, on text that no model has seen; lower is better.")
    print(conclusion(unigram, [card["validation_loss"] for card in cards]))


def card(model):
    own = card_of(model)
    print(f"\nTrained on {own['tokens']:,} tokens in {own['seconds'] / 60:.1f} minutes on {own['device']}.")
    print("Held-out loss (nats a masked word), beside models of the same width and depth on the same text:")
    rows = [("word frequencies alone", "", own["data"]["unigram_entropy"])]
    for twin in [own, *own.get("twins", [])]:
        rows.append((twin["feed_forward"], f"{twin['tokens'] / 1e6:,.0f} M tokens", twin["validation_loss"]))
    for name, tokens, loss in rows:
        print(f"  {name:<60} {tokens:>15}  {loss:.3f}")


def conclusion(unigram, losses):
    tree, dense, none = losses
    learnt = "All three learnt more than word frequencies" if max(losses) < unigram else \
        "Not all of the three learnt more than word frequencies"
    if none - dense < 0.02:
        verdict = "here a dense layer hardly beats none, which says nothing about the tree"
    elif tree >= none:
        verdict = "the tree did no better than no feedforward layer at all"
    else:
        verdict = f"of what the dense layer gains over none, the tree kept {100 * (none - tree) / (none - dense):.0f} %"
    return f"{learnt}; {verdict}.\nThese are minutes, one run each: another seed can move a loss by some tenths."


def main():
    actions = {
        "hold-out": hold_out,
        "sentence": lambda path: print(sentence(path)),
        "tokens": lambda model: print(card_of(model)["tokens"]),
        "table": lambda *models: table(models),
        "card": card,
    }
    if len(sys.argv) < 3 or sys.argv[1] not in actions:
        sys.exit(__doc__)
    actions[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
